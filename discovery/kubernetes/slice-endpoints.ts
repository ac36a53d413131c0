/** An endpoint as an EndpointSlice (discovery.k8s.io/v1) has it, as far as it is read. Any list may be null instead of empty. */
export interface ApiEndpoint {
  readonly addresses?: readonly string[] | null;
  readonly conditions?: Conditions | null;
  readonly hostname?: string | null;
  readonly nodeName?: string | null;
  readonly targetRef?: { readonly kind?: string; readonly name?: string } | null;
  readonly zone?: string | null;
  readonly hints?: { readonly forZones?: readonly { readonly name: string }[] | null } | null;
}

interface Conditions {
  readonly ready?: boolean | null;
  readonly serving?: boolean | null;
  readonly terminating?: boolean | null;
}

/** Whether an endpoint takes requests; the better the higher. */
export type Readiness = "ready" | "draining" | "not_ready";

/** An endpoint of a slice, without what nobody asks for. */
export interface SliceEndpoint {
  readonly address: string;
  readonly readiness: Readiness;
  readonly name: string;
  readonly node: string;
  readonly zone: string;
  readonly forZones: readonly string[];
}

declare const packed: unique symbol;

/**
 * The endpoints of a slice as one text: a cluster has a hundred thousand of them, which as objects with strings of their own take four
 * times the memory, and are looked through by each garbage collection. They are read only when something of their service changes.
 */
export type PackedEndpoints = string & { readonly [packed]: true };

/** JSON of a list of these, since names and zones may hold any character. */
type Row = [address: string, readiness: Readiness, name: string, node: string, zone: string, ...forZones: string[]];

/** The endpoints of a slice that have an address, by address: their order means nothing, and another one of the same endpoints is the same text. */
export function packEndpoints(endpoints: readonly ApiEndpoint[]): PackedEndpoints {
  const rows = endpoints.flatMap((endpoint): Row[] => {
    // Of several addresses any one may be taken; API servers give out one.
    const address = endpoint.addresses?.[0];
    if (!address) return [];
    const { hostname, nodeName, targetRef, zone, hints } = endpoint;
    const name = targetRef?.name ?? hostname ?? "";
    const forZones = hints?.forZones?.map(({ name }) => name) ?? [];
    return [[address, readinessOf(endpoint.conditions ?? {}), name, nodeName ?? "", zone ?? "", ...forZones]];
  });
  return JSON.stringify(rows.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) as PackedEndpoints;
}

/** What `packEndpoints` was given, made anew for each call. */
export function unpackEndpoints(endpoints: PackedEndpoints): SliceEndpoint[] {
  const rows = JSON.parse(endpoints) as Row[];
  return rows.map(([address, readiness, name, node, zone, ...forZones]) => ({
    ...{ address, readiness, name, node, zone, forZones },
  }));
}

/**
 * Unset conditions mean ready, as API servers before 1.20 knew none other, and serving follows ready (API reference,
 * EndpointConditions). An endpoint that terminates is never ready, but drains as long as it serves (KEP-1672).
 */
function readinessOf(conditions: Conditions): Readiness {
  const ready = conditions.ready ?? true;
  const serving = conditions.serving ?? ready;
  if (conditions.terminating) return serving ? "draining" : "not_ready";
  return ready ? "ready" : "not_ready";
}
