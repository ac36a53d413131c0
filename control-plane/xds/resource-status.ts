import type { CachedResource, ResourceSet } from "./cache.ts";
import type { Subscription } from "./subscription.ts";

/**
 * How a client stands to the newest content of a resource (CSDS, `ConfigStatus` of the server's view; rule L2): `synced` has accepted it,
 * `stale` has not answered yet, `error` has refused it, and to `not_sent` it has not been sent.
 */
export type ResourceState = "synced" | "stale" | "error" | "not_sent";

/** One resource that a client wants. Times are milliseconds since the epoch. */
export interface ResourceStatus {
  readonly typeUrl: string;
  readonly name: string;
  readonly state: ResourceState;
  /** Undefined if there is no resource of that name. */
  readonly resource: CachedResource | undefined;
  /** What the client was sent last; empty if nothing, or if what it holds is not known. */
  readonly sentVersion: string;
  /** With the state `error`. */
  readonly refusal: { readonly reason: string; readonly timeMs: number | undefined } | undefined;
}

/** Every resource that a subscription wants: all of the set under the wildcard, and each that is named, be it there or not. */
export function* resourceStatuses(sub: Subscription, set: ResourceSet | undefined): Iterable<ResourceStatus> {
  if (sub.wildcard) for (const resource of set?.values() ?? []) yield statusOf(sub, resource.name, resource);
  for (const name of sub.names) {
    const resource = set?.get(name);
    if (!sub.wildcard || resource === undefined) yield statusOf(sub, name, resource);
  }
}

function statusOf(sub: Subscription, name: string, resource: CachedResource | undefined): ResourceStatus {
  const { typeUrl } = sub.type;
  const sentVersion = sub.sent.get(name) ?? "";
  const state = resource === undefined ? "not_sent" : stateOf(sub, name, resource, sentVersion);
  const refusal = state === "error" ? { reason: sub.nack || sub.lastNack, timeMs: sub.lastNackTimeMs } : undefined;
  return { typeUrl, name, state, resource, sentVersion, refusal };
}

function stateOf(sub: Subscription, name: string, { version }: CachedResource, sentVersion: string): ResourceState {
  if (sentVersion !== version) return "not_sent";
  if (sub.refusedVersions.get(name) === version) return "error";
  return sub.inFlight?.changed.has(name) === true ? "stale" : "synced";
}
