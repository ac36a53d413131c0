import type { KubernetesObject, ObjectMeta } from "./reflect.ts";

/** What is read of an EndpointSlice (discovery.k8s.io/v1). Any list may be null instead of empty. */
export interface EndpointSlice extends KubernetesObject {
  readonly addressType?: string;
  readonly ports?: readonly { name?: string | null; port?: number | null; protocol?: string | null }[] | null;
  readonly endpoints?:
    | readonly {
        addresses?: readonly string[] | null;
        conditions?: { ready?: boolean | null; serving?: boolean | null; terminating?: boolean | null } | null;
        hostname?: string | null;
        nodeName?: string | null;
        targetRef?: { kind?: string; name?: string } | null;
        zone?: string | null;
        hints?: { forZones?: readonly { name: string }[] | null } | null;
      }[]
    | null;
}

/** What is read of a Service (v1). */
export interface Service extends KubernetesObject {
  readonly spec?: {
    type?: string;
    externalName?: string;
    ipFamilies?: readonly string[] | null;
    ports?: readonly { name?: string; port: number; protocol?: string }[] | null;
  };
}

/** Whether an endpoint takes requests; the better the higher. */
export type Readiness = "ready" | "draining" | "not_ready";

/** An endpoint of a slice, as small as it gets: a cluster has a hundred thousand of them. */
export interface SliceEndpoint {
  readonly address: string;
  readonly readiness: Readiness;
  readonly name: string;
  readonly node: string;
  readonly zone: string;
  readonly forZones: readonly string[];
}

/** A slice without what nobody asks for. */
export interface Slice {
  readonly name: string;
  readonly namespace: string;
  /** Name of its Service, in the same namespace. */
  readonly service: string;
  /** Changes when the object does, and only then. */
  readonly version: string;
  readonly family: "IPv4" | "IPv6";
  /** TCP ports only, in the slice's order. Undefined: the slice limits no ports, so that those of the Service count. */
  readonly ports: readonly { readonly name: string; readonly port: number }[] | undefined;
  readonly endpoints: readonly SliceEndpoint[];
}

/** A Service without what nobody asks for. */
export interface ServiceInfo {
  readonly name: string;
  readonly namespace: string;
  readonly version: string;
  /** TCP ports, in the Service's order. */
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  /** Of the first of its IP families: the one that its cluster prefers for it. */
  readonly family: "IPv4" | "IPv6" | undefined;
  /** An alias of this DNS name, without endpoints of its own. */
  readonly externalName: string;
}

const SERVICE_NAME_LABEL = "kubernetes.io/service-name";
const none: readonly string[] = [];

/** Whether an object is the one that we had: its resourceVersion says so; without one nothing is sure. */
const versionOf = ({ uid = "", resourceVersion = "" }: ObjectMeta) =>
  resourceVersion === "" ? `${Math.random()}` : `${uid}/${resourceVersion}`;

/**
 * A slice as it is kept, or undefined for one that no Service selects endpoints with: no service label, or names instead of addresses
 * (addressType FQDN is deprecated, and nothing but DNS could follow such an endpoint).
 */
export function toSlice({ metadata, addressType, ports, endpoints }: EndpointSlice): Slice | undefined {
  const service = metadata.labels?.[SERVICE_NAME_LABEL];
  if (!service || (addressType !== "IPv4" && addressType !== "IPv6")) return undefined;
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? "",
    service,
    version: versionOf(metadata),
    family: addressType,
    // "No ports" and "all ports" look almost alike: null means all (API reference, EndpointSlice.ports).
    ports: ports?.flatMap(({ name, port, protocol }) =>
      port && (protocol ?? "TCP") === "TCP" ? [{ name: name ?? "", port }] : [],
    ),
    endpoints: (endpoints ?? []).flatMap((endpoint) => {
      // Of several addresses any one may be taken; API servers give out one.
      const address = endpoint.addresses?.[0];
      if (!address) return [];
      return [
        {
          address,
          readiness: readinessOf(endpoint.conditions ?? {}),
          name: endpoint.targetRef?.name ?? endpoint.hostname ?? "",
          node: endpoint.nodeName ?? "",
          zone: endpoint.zone ?? "",
          forZones: endpoint.hints?.forZones?.map(({ name }) => name) ?? none,
        },
      ];
    }),
  };
}

/**
 * Unset conditions mean ready, as API servers before 1.20 knew none other, and serving follows ready (API reference,
 * EndpointConditions). An endpoint that terminates is never ready, but drains as long as it serves (KEP-1672).
 */
function readinessOf(conditions: {
  ready?: boolean | null;
  serving?: boolean | null;
  terminating?: boolean | null;
}): Readiness {
  const ready = conditions.ready ?? true;
  const serving = conditions.serving ?? ready;
  if (conditions.terminating) return serving ? "draining" : "not_ready";
  return ready ? "ready" : "not_ready";
}

/** A Service as it is kept. */
export function toServiceInfo({ metadata, spec }: Service): ServiceInfo {
  const family = spec?.ipFamilies?.[0];
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? "",
    version: versionOf(metadata),
    ports: (spec?.ports ?? [])
      .filter(({ protocol = "TCP" }) => protocol === "TCP")
      .map(({ name = "", port }) => ({ name, port })),
    family: family === "IPv4" || family === "IPv6" ? family : undefined,
    externalName: spec?.type === "ExternalName" ? (spec.externalName ?? "") : "",
  };
}
