/** The state-of-the-world half of the protocol's rules (S1-S18): what a request does to a subscription, and what a response has to hold. */
import { type CachedResource, type ResourceSet, setVersion } from "./cache.ts";
import { WILDCARD } from "./interest.ts";
import type { LayeredSet } from "./layered-set.ts";
import { noteDropped, noteReplaced } from "./progress.ts";
import {
  distrust,
  dropWildcard,
  forget,
  isFullState,
  noteTaken,
  type Outcome,
  type Permission,
  type Push,
  type Subscription,
  settle,
  wants,
} from "./subscription.ts";
import type { ClientTraits } from "./subscription-delta.ts";

/** What the rules look at in a DiscoveryRequest. */
export interface SotwRequest {
  readonly versionInfo: string;
  readonly resourceNames: readonly string[];
  readonly responseNonce: string;
  /** The message of `error_detail`, or undefined without one. */
  readonly refusal: string | undefined;
}

/** Applies a request. It always carries the full list of names (S9), and the newest one counts (S8). */
export function applySotw(sub: Subscription, request: SotwRequest, traits: ClientTraits, nowMs: number): Outcome {
  const first = !sub.started;
  sub.started = true;
  sub.takesErrors = traits.takesErrors;
  const { verdict, settled } = first
    ? ({ verdict: "none", settled: undefined } as const)
    : settle(sub, request.responseNonce, request.refusal, nowMs);
  // S6: without a nonce it is a new subscription, as some clients send it after they had dropped all names. While a response is under way,
  // it is one that crossed with it, and only what is new in it needs an answer.
  const anew = first || (request.responseNonce === "" && sub.inFlight === undefined);
  const watch: string[] = [];
  const unwatch: string[] = [];
  const listed = new Set(request.resourceNames);
  if (listed.size > 0) sub.hasNamed = true;
  const wildcard = listed.delete(WILDCARD) || (!sub.hasNamed && sub.type.wildcard && traits.legacyWildcard); // S10, S11
  const added: string[] = [];
  for (const name of listed) {
    if (!sub.names.has(name)) {
      sub.names.add(name);
      watch.push(name);
      added.push(name);
    } else if (anew) added.push(name);
  }
  for (const name of sub.names) {
    if (listed.has(name)) continue;
    sub.names.delete(name);
    unwatch.push(name);
    if (!wildcard) forget(sub, name);
  }
  const widened = wildcard && (!sub.wildcard || anew);
  if (wildcard && !sub.wildcard) watch.push(WILDCARD);
  if (!wildcard && sub.wildcard) {
    dropWildcard(sub);
    unwatch.push(WILDCARD);
  }
  sub.wildcard = wildcard;
  // S9 holds for "*" too: what it newly lists is sent again, even if it was sent by name. Full state is sent whole in any case.
  if (widened && !first && !isFullState(sub.type)) distrust(sub);
  // S5: what a stale request asks for is noted, and answered with the next one that is current.
  if (widened) added.push(WILDCARD);
  for (const name of added) sub.unanswered.add(name);
  if (verdict === "stale") return { verdict, settled, watch, unwatch, rescan: false };
  const rescan = sub.unanswered.delete(WILDCARD) || first;
  // A client that comes back serves by what it was sent: what it names is sent again, yet in the order of any other change (W1).
  const returns = first && request.versionInfo !== "";
  if (returns) sub.fresh = false;
  const due = returns && !isFullState(sub.type) ? sub.dirty : sub.forced;
  for (const name of sub.unanswered) due.add(name); // S9: sent even if it was sent before.
  // Full state is answered even when it is empty: then nothing of what was asked for exists (S13).
  if (isFullState(sub.type) && (rescan ? wildcard || added.length > 0 : sub.unanswered.size > 0)) {
    sub.replyEvenIfEmpty = true;
  }
  sub.unanswered.clear();
  // S16: only a pure wildcard of full state can be told by its version, and only from an earlier stream: later on, what was sent is known.
  sub.heldVersion = first && isFullState(sub.type) && wildcard && listed.size === 0 ? request.versionInfo : "";
  return { verdict, settled, watch, unwatch, rescan };
}

/**
 * Takes the next response out of a subscription: the full state of a full-state type, which cannot be split, or about `budgetBytes` of
 * what changed of any other.
 *
 * @returns undefined if there is nothing to say
 */
export function takeSotw(
  sub: Subscription,
  set: ResourceSet,
  permission: Permission,
  budgetBytes: number,
): Push | undefined {
  const push = isFullState(sub.type)
    ? takeFullState(sub, set, permission)
    : takePartial(sub, set, permission, budgetBytes);
  noteTaken(sub);
  return push;
}

function takeFullState(sub: Subscription, set: ResourceSet, permission: Permission): Push | undefined {
  for (const name of sub.dirty) {
    const resource = set.get(name);
    if (resource === undefined || !wants(sub, name) || resource.version === sub.sent.get(name)) sub.dirty.delete(name);
  }
  for (const name of sub.gone) if (set.has(name) || !sub.sent.has(name)) sub.gone.delete(name);
  const asked = sub.forced.size > 0 || sub.replyEvenIfEmpty;
  const updates = permission.updates && sub.dirty.size > 0;
  const removals = permission.removals && sub.gone.size > 0;
  if (!asked && !updates && !removals) return undefined;

  const resources: CachedResource[] = [];
  const changed = new Set<string>();
  const keep = (resource: CachedResource) => {
    resources.push(resource);
    if (sub.sent.get(resource.name) === resource.version && !sub.forced.has(resource.name)) return;
    changed.add(resource.name);
    noteReplaced(sub, resource.name);
  };
  if (sub.wildcard) for (const resource of set.values()) keep(resource);
  else for (const name of sub.names) ifDefined(set.get(name), keep);
  // W6: what is gone stays in the set until the types that may refer to it have moved on.
  if (!permission.removals && sub.gone.size > 0) {
    for (const name of sub.gone) ifDefined(sub.lingering.get(name), keep);
  } else {
    sub.gone.clear();
    sub.lingering.clear();
  }
  // S16: the version is that of what is sent, so that nobody who holds a part of the set can be taken to hold it whole.
  const isWhole = sub.wildcard && sub.lingering.size === 0;
  const version = isWhole ? set.version : setVersion(resources.reduce((sum, { setHash }) => sum + setHash, 0n));
  sub.missing.clear();
  for (const name of sub.names) if (!set.has(name)) sub.missing.add(name);
  sub.sent.clear();
  for (const { name, version: sent } of resources) sub.sent.set(name, sent);
  for (const held of [sub.progress.unaccepted, sub.progress.refusals]) {
    for (const name of held.keys()) if (!sub.sent.has(name)) noteDropped(sub, name);
  }
  sub.dirty.clear();
  sub.forced.clear();
  sub.replyEvenIfEmpty = false;
  return { resources, removed: [], changed, version };
}

function takePartial(
  sub: Subscription,
  set: ResourceSet,
  permission: Permission,
  budgetBytes: number,
): Push | undefined {
  const resources: CachedResource[] = [];
  let left = budgetBytes;
  const notFound: string[] = [];
  // The name is remembered, and sent when it springs into existence (S15). There is no signal for "gone" and "missing" but errors, each
  // told once (X4).
  const miss = (name: string, asked: boolean) => {
    noteDropped(sub, name);
    sub.sent.delete(name);
    if (!sub.names.has(name)) return;
    if (sub.takesErrors && (asked || !sub.missing.has(name))) notFound.push(name);
    sub.missing.add(name);
  };
  for (const name of sub.gone) if (!set.has(name)) miss(name, false);
  sub.gone.clear();
  const take = (names: LayeredSet, asked: boolean, isDue: (resource: CachedResource) => boolean) => {
    for (const name of names) {
      if (left <= 0) break;
      sub.dirty.delete(name);
      sub.forced.delete(name);
      const resource = set.get(name);
      if (resource === undefined) miss(name, asked);
      else if (isDue(resource)) {
        resources.push(resource);
        noteReplaced(sub, name);
        sub.sent.set(name, resource.version);
        sub.missing.delete(name);
        left -= resource.sotw.length;
      }
    }
  };
  take(sub.forced, true, () => true);
  if (permission.updates)
    take(sub.dirty, false, ({ name, version }) => wants(sub, name) && sub.sent.get(name) !== version);
  if (resources.length + notFound.length === 0) return undefined;
  return {
    resources,
    removed: [],
    notFound,
    changed: new Set(resources.map(({ name }) => name)),
    version: set.version,
  };
}

function ifDefined<T>(value: T | undefined, use: (value: T) => void): void {
  if (value !== undefined) use(value);
}
