/**
 * How far what a client wants has come, beside the rules of the protocol: which resources it has accepted, and which publications
 * (publications.ts) it still owes an answer for. Plain values like the subscription that they are part of; all of them cost what changed.
 */
import type { Outstanding, PublicationRange, ResourceState, ResourceStatus } from "./delivery.ts";
import { LayeredMap } from "./layered-map.ts";
import type { Subscription } from "./subscription.ts";

/** What is kept of one subscription. */
export interface Progress {
  /** Names that wait for being sent, with the publications that changed them. Those that need not be sent any more may linger. */
  readonly owed: Map<string, PublicationRange>;
  /** Everything that the client wants is being compared with what it holds: whatever waits may be of any publication. */
  comparing: boolean;
  /** Names that the client was sent and has not accepted in that version, with the version that it accepted before ("": none). */
  readonly unaccepted: LayeredMap;
  /** Of those, the ones that it refused by name, with its reasons. */
  readonly refusals: Map<string, string>;
}

/** Of a client that has asked for nothing yet. */
export const newProgress = (): Progress => ({
  owed: new Map(),
  comparing: false,
  unaccepted: new LayeredMap(),
  refusals: new Map(),
});

/** A publication changed a resource that the client wants. */
export function noteOwed({ owed }: Progress, name: string, publication: number): void {
  const before = owed.get(name);
  // The place in the map stays that of the first change, so that the earliest publication comes first.
  owed.set(name, { first: before?.first ?? publication, last: publication });
}

const isPending = ({ dirty, gone, forced }: Subscription, name: string) =>
  dirty.has(name) || gone.has(name) || forced.has(name);

/** A response was taken out of the subscription and goes out: what of publications is in it. */
export function notePushed(sub: Subscription): PublicationRange | undefined {
  const { progress } = sub;
  if (!progress.comparing && progress.owed.size === 0) return undefined;
  let first = progress.comparing ? 0 : Number.POSITIVE_INFINITY;
  let last = progress.comparing ? 0 : Number.NEGATIVE_INFINITY;
  for (const [name, range] of progress.owed) {
    if (isPending(sub, name)) continue;
    progress.owed.delete(name);
    first = Math.min(first, range.first);
    last = Math.max(last, range.last);
  }
  if (sub.dirty.size + sub.gone.size + sub.forced.size === 0) progress.comparing = false;
  return last < 0 ? undefined : { first, last };
}

/** A resource goes out in another version than the client holds. */
export function noteReplaced({ progress, sent }: Subscription, name: string): void {
  if (!progress.unaccepted.has(name)) progress.unaccepted.set(name, sent.get(name) ?? "");
}

/** The client is told, or assumed to know, that a resource is gone. */
export function noteDropped({ progress }: Subscription, name: string): void {
  progress.unaccepted.delete(name);
  progress.refusals.delete(name);
}

/**
 * The client has answered a response.
 * @param refusals undefined: it accepted; else what it said of single resources of the response, by name
 */
export function noteAnswered(
  { unaccepted, refusals: refused }: Progress,
  changed: ReadonlySet<string>,
  refusals: ReadonlyMap<string, string> | undefined,
): void {
  if (refusals === undefined) {
    if (refused.size === 0 && unaccepted.unshare(changed)) return;
    for (const name of changed) unaccepted.delete(name);
    if (refused.size > 0) for (const name of changed) refused.delete(name);
    return;
  }
  for (const name of changed) refused.delete(name);
  for (const [name, reason] of refusals) refused.set(name, reason);
}

/** What is outstanding of a stream's subscriptions. */
export function outstanding(subs: Iterable<Subscription>): Outstanding {
  let [unsent, unanswered] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const sub of subs) {
    unsent = Math.min(unsent, firstUnsent(sub));
    unanswered = Math.min(unanswered, sub.inFlight?.publications?.first ?? Number.POSITIVE_INFINITY);
  }
  return { unsent, unanswered: Math.min(unsent, unanswered) };
}

function firstUnsent(sub: Subscription): number {
  const { progress } = sub;
  if (progress.comparing && (sub.dirty.size + sub.gone.size + sub.forced.size > 0 || sub.replyEvenIfEmpty)) return 0;
  for (const [name, { first }] of progress.owed) {
    if (isPending(sub, name)) return first;
    // It changed back, or the client no longer wants it.
    progress.owed.delete(name);
  }
  return Number.POSITIVE_INFINITY;
}

/** Every resource that a client was sent or is to be sent. @param typeUrl of one type; undefined: of all */
export function* resourceStatuses(subs: Iterable<Subscription>, typeUrl: string | undefined): Iterable<ResourceStatus> {
  for (const sub of subs) {
    if (typeUrl !== undefined && sub.type.typeUrl !== typeUrl) continue;
    for (const [name, sentVersion] of sub.sent) yield statusOf(sub, name, sentVersion);
    for (const name of sub.dirty) if (!sub.sent.has(name)) yield statusOf(sub, name, "");
  }
}

function statusOf(sub: Subscription, name: string, sentVersion: string): ResourceStatus {
  const { unaccepted, refusals } = sub.progress;
  const nack = refusals.get(name) ?? "";
  const acceptedVersion = unaccepted.get(name) ?? sentVersion;
  return { typeUrl: sub.type.typeUrl, name, sentVersion, acceptedVersion, state: stateOf(sub, name), nack };
}

function stateOf(sub: Subscription, name: string): ResourceState {
  if (isPending(sub, name)) return "waiting";
  if (!sub.progress.unaccepted.has(name)) return "accepted";
  if (sub.inFlight?.changed.has(name)) return "sent";
  return sub.progress.refusals.has(name) ? "refused" : "undecided";
}
