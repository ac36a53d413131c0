import type { CachedResource, ResourceSet } from "./cache.ts";
import type { Subscription } from "./subscription.ts";

/**
 * How a client stands to the newest content of a resource (CSDS, `ConfigStatus` of the server's view; rule L2): `synced` has accepted it,
 * `stale` has not answered yet, `error` has refused it, and to `not_sent` it has not been sent.
 */
export type WantedState = "synced" | "stale" | "error" | "not_sent";

/** One resource that a client wants. Times are milliseconds since the epoch. */
export interface WantedResource {
  readonly typeUrl: string;
  readonly name: string;
  readonly state: WantedState;
  /** Undefined if there is no resource of that name. */
  readonly resource: CachedResource | undefined;
  /** What the client was sent last; empty if nothing, or if what it holds is not known. */
  readonly sentVersion: string;
  /** With the state `error`. */
  readonly refusal: { readonly reason: string; readonly timeMs: number | undefined } | undefined;
}

/** Every resource that a subscription wants: all of the set under the wildcard, and each that is named, be it there or not. */
export function* wantedResources(sub: Subscription, set: ResourceSet | undefined): Iterable<WantedResource> {
  if (sub.wildcard) for (const resource of set?.values() ?? []) yield statusOf(sub, resource.name, resource);
  for (const name of sub.names) {
    // What it stands for is listed under its own name.
    if (sub.asked?.answered.has(name)) continue;
    const resource = set?.get(name);
    if (!sub.wildcard || resource === undefined) yield statusOf(sub, name, resource);
  }
}

function statusOf(sub: Subscription, name: string, resource: CachedResource | undefined): WantedResource {
  const { typeUrl } = sub.type;
  const sentVersion = sub.sent.get(name) ?? "";
  const state = resource === undefined || sentVersion !== resource.version ? "not_sent" : stateOf(sub, name);
  // Where the client named no resource, its words are for all of the response.
  const reason = sub.progress.refusals.get(name) ?? sub.lastNack;
  const refusal = state === "error" ? { reason, timeMs: sub.lastNackTimeMs } : undefined;
  return { typeUrl, name, state, resource, sentVersion, refusal };
}

function stateOf(sub: Subscription, name: string): WantedState {
  if (!sub.progress.unaccepted.has(name)) return "synced";
  return sub.inFlight?.changed.has(name) === true ? "stale" : "error";
}
