/** The delta half of the protocol's rules (D1-D15): what a request does to a subscription, and what a response has to hold. */
import type { CachedResource, ResourceSet } from "./cache.ts";
import { FirstAnswers } from "./first-answers.ts";
import { WILDCARD } from "./interest.ts";
import { noteDropped, noteReplaced } from "./progress.ts";
import {
  byHost,
  distrust,
  dropWildcard,
  forget,
  noteTaken,
  type Outcome,
  type Permission,
  type Push,
  type Subscription,
  settle,
  wants,
} from "./subscription.ts";

/** What the rules look at in a DeltaDiscoveryRequest. Resource locators are not implemented by any client and are ignored (D15). */
export interface DeltaRequest {
  readonly resourceNamesSubscribe: readonly string[];
  /** The same names as a set that never changes, where other streams have named just the same. */
  readonly sharedNames?: ReadonlySet<string> | undefined;
  readonly resourceNamesUnsubscribe: readonly string[];
  readonly initialResourceVersions: Readonly<Record<string, string>>;
  readonly responseNonce: string;
  /** The message of `error_detail`, or undefined without one. */
  readonly refusal: string | undefined;
}

/** How a client deviates from the protocol's text. */
export interface ClientTraits {
  /** An empty first request means "all" (S10, D5); gRPC clients never mean that (S12). */
  readonly legacyWildcard: boolean;
  /** On a reconnect, its first delta request lists what it had got by the wildcard, and no "*" (D9, envoy#16063). */
  readonly namesWildcardOnReconnect: boolean;
  /** In state of the world it wants to be told of names that don't exist, by `resource_errors` (X4). */
  readonly takesErrors: boolean;
}

const VERSION_LENGTH_MAX = 64;

/** Applies a request. One request may settle a response and change the subscription; the latter whatever the nonce (D2). */
export function applyDelta(sub: Subscription, request: DeltaRequest, traits: ClientTraits, nowMs: number): Outcome {
  const first = !sub.started;
  const { verdict, settled } = first
    ? ({ verdict: "none", settled: undefined } as const)
    : settle(sub, request.responseNonce, request.refusal, nowMs);
  const watch: string[] = [];
  const unwatch: string[] = [];
  let rescan = false;
  if (first) {
    sub.started = true;
    rescan = true;
    if (byHost(sub.type)) watch.push(WILDCARD);
    // D9: what the client kept from an earlier stream. The names in it are no subscription.
    for (const [name, version] of Object.entries(request.initialResourceVersions)) {
      // What cannot be a version of ours need not be remembered.
      sub.sent.set(name, version.length <= VERSION_LENGTH_MAX ? version : "");
    }
  }
  const { resourceNamesUnsubscribe: unsubscribe } = request;
  let { resourceNamesSubscribe: subscribe } = request;
  if (first && sub.type.wildcard && traits.namesWildcardOnReconnect && sub.sent.size > 0) {
    subscribe = subscribe.filter((name) => !sub.sent.has(name));
  }
  if (first && subscribe.length + unsubscribe.length === 0 && sub.type.wildcard && traits.legacyWildcard) {
    // D5: nothing named in the first request of the type means everything.
    addWildcard(sub, watch);
  }
  const shared = subscribe === request.resourceNamesSubscribe ? request.sharedNames : undefined;
  const knowsNothing = sub.names.size + sub.sent.size + sub.forced.size + unsubscribe.length === 0;
  if (shared !== undefined && knowsNothing && !shared.has(WILDCARD)) {
    // D3, as below, for all of the names at once.
    sub.names.share(shared);
    sub.forced.share(shared);
    return { verdict, settled, watch, watchTogether: shared, unwatch, rescan };
  }
  // D8: first what is subscribed, then what is unsubscribed, so that a name in both ends unsubscribed.
  for (const name of subscribe) {
    if (name === WILDCARD) {
      // D3 holds for "*" too: a client that asks for everything may have forgotten what it was sent, be it by name or by an earlier "*".
      if (!first) distrust(sub);
      addWildcard(sub, watch);
      rescan = true;
      continue;
    }
    if (!sub.names.has(name)) {
      sub.names.add(name);
      watch.push(name);
    }
    // D3: a subscribed name is answered even if it was sent before. Only a first request that tells the client's version can do
    // without: then the comparison decides (D9).
    if (!(first && sub.sent.has(name))) sub.forced.add(name);
  }
  for (const name of unsubscribe) {
    if (name === WILDCARD) {
      if (!sub.wildcard) continue;
      dropWildcard(sub);
      if (!byHost(sub.type)) unwatch.push(WILDCARD);
      continue;
    }
    const named = sub.names.delete(name);
    if (named) unwatch.push(name);
    // D7: under the wildcard the client cannot know whether the name is still in its set, so it is told.
    if (sub.wildcard) sub.forced.add(name);
    else if (named) forget(sub, name); // D6: a name that was never subscribed is ignored.
  }
  // A name that the client kept, but asks for no longer, is of no interest to it (D9).
  if (first && !sub.wildcard) for (const name of sub.sent.keys()) if (!sub.names.has(name)) forget(sub, name);
  // A client that holds something serves by it: what changed meanwhile comes in the order of any other change (W1).
  if (first && sub.sent.size > 0) sub.fresh = false;
  return { verdict, settled, watch, unwatch, rescan };
}

const nothing: readonly string[] = [];

/** Applies a request that has a nonce and nothing else. */
export function applyAnswer(sub: Subscription, nonce: string, traits: ClientTraits, nowMs: number): Outcome {
  if (sub.started) {
    const { verdict, settled } = settle(sub, nonce, undefined, nowMs);
    return { verdict, settled, watch: nothing, unwatch: nothing, rescan: false };
  }
  const lists = { resourceNamesSubscribe: nothing, resourceNamesUnsubscribe: nothing, initialResourceVersions: {} };
  return applyDelta(sub, { ...lists, responseNonce: nonce, refusal: undefined }, traits, nowMs);
}

function addWildcard(sub: Subscription, watch: string[]): void {
  if (!sub.wildcard) watch.push(WILDCARD);
  sub.wildcard = true;
  // D10: a client waits for the answer even when it has everything.
  sub.replyEvenIfEmpty = true;
  sub.fresh = true;
}

/**
 * Takes the next response out of a subscription, at most about `budgetBytes` of resources (T7); what is left stays for the one after.
 *
 * @returns undefined if there is nothing to say
 */
export function takeDelta(
  sub: Subscription,
  set: ResourceSet,
  permission: Permission,
  budgetBytes: number,
): Push | undefined {
  const single = takeSingle(sub, set, permission);
  if (single !== undefined) return single;
  const first = takeFirst(sub, set, permission, budgetBytes);
  if (first !== undefined) return first;
  const resources: CachedResource[] = [];
  const changed = new Set<string>();
  const removed: string[] = [];
  let left = budgetBytes;
  const add = (resource: CachedResource) => {
    resources.push(resource);
    changed.add(resource.name);
    noteReplaced(sub, resource.name);
    sub.sent.set(resource.name, resource.version);
    sub.missing.delete(resource.name);
    left -= resource.delta.length;
  };
  const remove = (name: string) => {
    removed.push(name);
    noteDropped(sub, name);
    sub.sent.delete(name);
    if (sub.names.has(name)) sub.missing.add(name);
    left -= name.length;
  };
  for (const name of sub.forced) {
    if (left <= 0) break;
    sub.forced.delete(name);
    sub.dirty.delete(name);
    sub.gone.delete(name);
    const resource = set.get(name);
    if (resource !== undefined) add(resource);
    else remove(name); // D4: told at once that it doesn't exist; the interest stays.
  }
  if (permission.updates) {
    for (const name of sub.dirty) {
      if (left <= 0) break;
      sub.dirty.delete(name);
      const resource = set.get(name);
      if (resource === undefined) sub.gone.add(name);
      else if (wants(sub, name) && sub.sent.get(name) !== resource.version) add(resource);
    }
  }
  if (permission.removals && sub.dirty.size + sub.forced.size === 0) {
    for (const name of sub.gone) {
      if (left <= 0) break;
      sub.gone.delete(name);
      // D11: once, and only what the client holds.
      if (!set.has(name) && sub.sent.has(name)) remove(name);
    }
  }
  const isDue = resources.length + removed.length > 0 || sub.replyEvenIfEmpty;
  sub.replyEvenIfEmpty = false;
  noteTaken(sub);
  return isDue ? { resources, removed, changed, version: set.version } : undefined;
}

/** The response with one resource that was taken last: a change of one goes to all streams that want it. */
let lastSingle: Push | undefined;

/** As takeDelta, where one resource waits and nothing else; undefined if that is not so, or if the client needs none of it. */
function takeSingle(sub: Subscription, set: ResourceSet, permission: Permission): Push | undefined {
  const { forced, dirty, gone, sent } = sub;
  if (gone.size > 0 || sub.replyEvenIfEmpty || forced.size + dirty.size !== 1) return undefined;
  const waiting = forced.size > 0 ? forced : dirty;
  const name = waiting.only;
  const resource = name === undefined ? undefined : set.get(name);
  if (name === undefined || resource === undefined) return undefined;
  if (waiting === dirty) {
    if (!permission.updates || !wants(sub, name) || sent.get(name) === resource.version) return undefined;
  }
  waiting.clear();
  noteReplaced(sub, name);
  sent.set(name, resource.version);
  sub.missing.delete(name);
  noteTaken(sub);
  const { version } = set;
  if (lastSingle?.resources[0] !== resource || lastSingle.version !== version) {
    lastSingle = { resources: [resource], removed: [], changed: new Set([name]), version };
  }
  return lastSingle;
}

const firstAnswers = new FirstAnswers();

/** As takeDelta, where the client holds nothing of what it waits for and other streams wait for the same; undefined if that is not so. */
function takeFirst(sub: Subscription, set: ResourceSet, permission: Permission, budgetBytes: number): Push | undefined {
  const { forced, dirty, gone, missing, sent } = sub;
  const isForced = forced.size > 0;
  const waiting = isForced ? forced : dirty;
  const names = waiting.shared;
  // A set that doesn't keep its names is one of this client's own (candidates.ts, hosts-on-demand.ts).
  if (names === undefined || set.names === undefined || gone.size + missing.size > 0) return undefined;
  if (isForced ? dirty.size > 0 : !permission.updates || !sub.wildcard) return undefined;
  // What it holds may only be what the answers before left it with, and so none of these names.
  if (sent.size > 0 && (sent.top === undefined || sent.top !== firstAnswers.before(names))) return undefined;
  const { typeUrl } = sub.type;
  const question = { typeUrl, names, version: set.version, tellsMissing: isForced, budgetBytes };
  const { push, sent: layer, unaccepted, rest } = firstAnswers.answer(question, set);
  // There may be nothing to say after all, which the general way knows best.
  if (push.resources.length + push.removed.length === 0) return undefined;
  sent.share(layer);
  sub.progress.unaccepted.share(unaccepted);
  for (const name of push.removed) if (sub.names.has(name)) missing.add(name);
  waiting.share(rest);
  sub.replyEvenIfEmpty = false;
  noteTaken(sub);
  return push;
}
