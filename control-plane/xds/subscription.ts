import type { ServedType } from "#proto/resource-types.ts";

import type { CachedResource, ResourceChange, ResourceSet } from "./cache.ts";
import { WILDCARD } from "./interest.ts";
import { LayeredMap } from "./layered-map.ts";
import { LayeredSet } from "./layered-set.ts";
import { newProgress, noteAnswered, noteOwed, notePushed, type Progress } from "./progress.ts";
import { refusalsIn } from "./refusals.ts";
import type { PublicationRange } from "./delivery.ts";
import type { AskedHosts } from "./hosts-on-demand.ts";
import type { TypeStatus } from "./status.ts";

/** A response that its client has neither accepted nor refused yet. */
export interface InFlight {
  readonly nonce: string;
  readonly version: string;
  /** The resources in it that the client did not hold before in this version, or asked for again. */
  readonly changed: ReadonlySet<string>;
  /** When it was sent. */
  readonly sinceMs: number;
  /** What of publications is in it. */
  readonly publications: PublicationRange | undefined;
}

/**
 * What one client knows and wants of one resource type: a plain value, written only by the functions of subscription*.ts. The rules are
 * those of docs/xds-rules.md; state is apart for each type and each stream (T3).
 */
export interface Subscription {
  readonly type: ServedType;
  /** What of the cache it reads: the type's resources, or a view of them (whole-routes.ts). */
  readonly view: string;
  /** Whether a first request has come. */
  started: boolean;
  /** It wants every resource of the type. */
  wildcard: boolean;
  /** It has named something once, so that an empty list no longer means "all" (S10). */
  hasNamed: boolean;
  /** What it wants by name, besides the wildcard. */
  readonly names: LayeredSet;
  /** The version of each resource that the client holds, as far as we know; empty when it holds one that we cannot tell. */
  readonly sent: LayeredMap;
  /** Names that must be answered, whatever the client holds (S9, D3, D7, W2). */
  readonly forced: LayeredSet;
  /** Names whose resource may differ from what was sent. */
  readonly dirty: LayeredSet;
  /** Names whose resource is gone and may have been sent. */
  readonly gone: Set<string>;
  /** Full-state types in SotW: what is gone from the cache, but not from the client yet (make before break, W6). */
  readonly lingering: Map<string, CachedResource>;
  /** Names that it wants and that don't exist, as answered. */
  readonly missing: Set<string>;
  /** The client is told by errors that names don't exist, where the protocol has no other word for it (X4). */
  takesErrors: boolean;
  /** Names that a stale request added: answered with the next current one (S5). */
  readonly unanswered: Set<string>;
  /** The next response is sent even if there is nothing in it (D10). */
  replyEvenIfEmpty: boolean;
  /** The first answer, to a client that holds nothing, is not complete yet: it goes ahead without waiting for other types. */
  fresh: boolean;
  /** `version_info` of the first request: a client that holds just this set need not get it again (S16). */
  heldVersion: string;
  /** At most one response is under way; what changes meanwhile is coalesced (D14). */
  inFlight: InFlight | undefined;
  lastNonce: string;
  /** The client refused the newest response. */
  refused: boolean;
  /** Since when something has waited to be sent, for time limits. */
  waitingSinceMs: number | undefined;
  /** What is known of single resources, and of what belongs to publications. */
  readonly progress: Progress;
  /** Virtual hosts only: what it has asked for by host (hosts-on-demand.ts). */
  asked: AskedHosts | undefined;
  /** For status. */
  sentVersion: string;
  acceptedVersion: string;
  nack: string;
  /** Of the newest refusal, be it settled since or not. */
  lastNack: string;
  lastAckTimeMs: number | undefined;
  lastNackTimeMs: number | undefined;
}

/** A client that has asked for nothing yet. */
export const newSubscription = (type: ServedType, view: string = type.typeUrl): Subscription => ({
  type,
  view,
  started: false,
  wildcard: false,
  hasNamed: false,
  names: new LayeredSet(),
  sent: new LayeredMap(),
  forced: new LayeredSet(),
  dirty: new LayeredSet(),
  gone: new Set(),
  lingering: new Map(),
  missing: new Set(),
  takesErrors: false,
  unanswered: new Set(),
  replyEvenIfEmpty: false,
  fresh: true,
  heldVersion: "",
  inFlight: undefined,
  lastNonce: "",
  refused: false,
  waitingSinceMs: undefined,
  progress: newProgress(),
  asked: undefined,
  sentVersion: "",
  acceptedVersion: "",
  nack: "",
  lastNack: "",
  lastAckTimeMs: undefined,
  lastNackTimeMs: undefined,
});

/** What a request says of the response before it. "stale": it answers a response that is not the newest of its type, or none of ours. */
export type Verdict = "none" | "ack" | "nack" | "stale";

/** What a request did to a subscription. */
export interface Outcome {
  readonly verdict: Verdict;
  /** The response that the request accepted or refused. */
  readonly settled: InFlight | undefined;
  /** Names, WILDCARD among them, that the client newly wants to be told of. */
  readonly watch: readonly string[];
  /** Names that it newly wants to be told of as others do, who named just the same. */
  readonly watchTogether?: ReadonlySet<string>;
  /** Names that it no longer wants to be told of. */
  readonly unwatch: readonly string[];
  /** Everything that the client wants has to be compared with what it holds: call `rescan`. */
  readonly rescan: boolean;
}

/** Which part of what waits may go out now; see order.ts. Forced names always may. */
export interface Permission {
  readonly updates: boolean;
  readonly removals: boolean;
}

/** The content of one response. */
export interface Push {
  readonly resources: readonly CachedResource[];
  /** Delta only. */
  readonly removed: readonly string[];
  /** State of the world only: names that don't exist, for clients that take errors (X4). */
  readonly notFound?: readonly string[];
  /** Names in `resources` that the client did not hold in this version, or asked for again. */
  readonly changed: ReadonlySet<string>;
  readonly version: string;
}

/** Whether the client wants to know of a name. */
export const wants = (sub: Subscription, name: string): boolean => sub.wildcard || sub.names.has(name);

/** Whether there is something to tell the client, or to compare with what it holds. */
export const isWaiting = ({ forced, dirty, gone, replyEvenIfEmpty }: Subscription): boolean =>
  !(forced.isEmpty && dirty.isEmpty && gone.size === 0) || replyEvenIfEmpty;

/** Types whose responses in SotW are the full state, so that what they lack is deleted (S13). */
export const isFullState = (type: ServedType): boolean => type.wildcard;

const NACK_TEXT_MAX = 4096;

/**
 * Settles the response under way. A refusal is told by `error_detail`, never by versions (S3). What was refused still counts as sent, so
 * that it is not sent again until it changes (S7, D12).
 *
 * @param refusal the message of `error_detail`, or undefined if the request has none
 */
export function settle(
  sub: Subscription,
  nonce: string,
  refusal: string | undefined,
  nowMs: number,
): { verdict: Verdict; settled: InFlight | undefined } {
  if (nonce === "") return { verdict: "none", settled: undefined };
  if (nonce !== sub.lastNonce) return { verdict: "stale", settled: undefined };
  const settled = sub.inFlight;
  // The nonce of a response that was accepted before: a change of the subscription, or a refusal after second thoughts.
  if (settled === undefined && refusal === undefined) return { verdict: "none", settled };
  sub.inFlight = undefined;
  if (refusal !== undefined) {
    sub.refused = true;
    sub.nack = refusal.slice(0, NACK_TEXT_MAX) || "refused without a reason";
    sub.lastNack = sub.nack;
    sub.lastNackTimeMs = nowMs;
    if (settled !== undefined) noteAnswered(sub.progress, settled.changed, refusalsIn(sub.nack, settled.changed));
    return { verdict: "nack", settled };
  }
  sub.refused = false;
  sub.nack = "";
  sub.acceptedVersion = settled?.version ?? sub.acceptedVersion;
  if (settled !== undefined) noteAnswered(sub.progress, settled.changed, undefined);
  sub.lastAckTimeMs = nowMs;
  return { verdict: "ack", settled };
}

/** A response has been written. */
export function noteSent(sub: Subscription, push: Push, nonce: string, nowMs: number): void {
  const publications = notePushed(sub);
  sub.inFlight = { nonce, version: push.version, changed: push.changed, sinceMs: nowMs, publications };
  sub.lastNonce = nonce;
  sub.sentVersion = push.version;
}

/** Resources that the client wants have changed in the cache. */
export function noteChanges(
  sub: Subscription,
  changes: readonly ResourceChange[],
  options: { readonly lingers: boolean; readonly nowMs: number; readonly publication?: number | undefined },
): void {
  const { publication } = options;
  for (const { name, before, exists } of changes) {
    if (!wants(sub, name)) continue;
    if (!exists) {
      sub.dirty.delete(name);
      if (!sub.sent.has(name)) continue;
      if (publication !== undefined) noteOwed(sub.progress, name, publication);
      sub.gone.add(name);
      if (options.lingers && before !== undefined && !sub.lingering.has(name)) sub.lingering.set(name, before);
    } else {
      sub.gone.delete(name);
      sub.lingering.delete(name);
      sub.missing.delete(name);
      // What is forced is sent in any case, in the version that it has by then.
      if (!sub.forced.has(name)) sub.dirty.add(name);
      if (publication !== undefined) noteOwed(sub.progress, name, publication);
    }
  }
  if (isWaiting(sub)) sub.waitingSinceMs ??= options.nowMs;
}

/** Marks all that the client wants or holds for comparison with the set: at the start, or when its group has come. */
export function rescan(sub: Subscription, set: ResourceSet, nowMs: number): void {
  if (sub.heldVersion !== "" && sub.heldVersion === set.version) {
    // S16: it holds exactly this set.
    for (const resource of set.values()) sub.sent.set(resource.name, resource.version);
    sub.sentVersion = set.version;
    sub.acceptedVersion = set.version;
    sub.replyEvenIfEmpty = false;
  } else if (sub.heldVersion !== "") resume(sub, set);
  sub.heldVersion = "";
  sub.progress.comparing = true;
  for (const name of sub.sent.keys()) if (!set.has(name)) sub.gone.add(name);
  if (sub.wildcard && sub.sent.size + sub.dirty.size === 0 && set.names !== undefined) {
    sub.dirty.share(set.names);
  } else if (sub.wildcard) {
    for (const { name, version } of set.values()) if (sub.sent.get(name) !== version) sub.dirty.add(name);
  } else if (sub.forced.shared === undefined || sub.forced.shared !== sub.names.shared) {
    for (const name of sub.names) {
      // What is forced is sent in any case, and then in the version that it has by then.
      if (!sub.forced.has(name) && sub.sent.get(name) !== set.get(name)?.version) sub.dirty.add(name);
    }
  }
  if (isWaiting(sub)) sub.waitingSinceMs ??= nowMs;
}

/** It holds what the set was at an earlier version: what of that has gone meanwhile goes from it as from a client that never was away (W6). */
function resume(sub: Subscription, set: ResourceSet): void {
  const past = set.past?.(sub.heldVersion);
  if (past === undefined) return;
  for (const { name, version } of set.values()) if (!past.has(name)) sub.sent.set(name, version);
  for (const [name, resource] of past) {
    if (resource === undefined) continue;
    sub.sent.set(name, resource.version);
    if (!set.has(name)) sub.lingering.set(name, resource);
  }
  sub.acceptedVersion = sub.heldVersion;
  sub.replyEvenIfEmpty = false;
}

/** The client no longer wants the name: all that was kept for it goes. */
export function forget(sub: Subscription, name: string): void {
  sub.progress.unaccepted.delete(name);
  sub.progress.refusals.delete(name);
  sub.sent.delete(name);
  sub.forced.delete(name);
  sub.dirty.delete(name);
  sub.gone.delete(name);
  sub.lingering.delete(name);
  sub.missing.delete(name);
  sub.unanswered.delete(name);
}

/** The client no longer wants everything; what it names besides stays. */
export function dropWildcard(sub: Subscription): void {
  sub.wildcard = false;
  sub.replyEvenIfEmpty = false;
  sub.unanswered.delete(WILDCARD);
  for (const held of [sub.sent.keys(), sub.forced, sub.dirty, sub.gone]) {
    for (const name of held) if (!sub.names.has(name)) forget(sub, name);
  }
}

/** The client must be sent everything again, whatever it holds. */
export function distrust(sub: Subscription): void {
  for (const name of sub.sent.keys()) sub.sent.set(name, "");
}

/** Every name that the client is to be told of, as the cache's index has them. */
export function* watched({ type, wildcard, names }: Subscription): Iterable<string> {
  if (wildcard || byHost(type)) yield WILDCARD;
  yield* names;
}

/** Types of which names may stand for resources of other names, so that any change may concern whoever asked for one (O1). */
export const byHost = ({ shortName }: ServedType): boolean => shortName === "VHDS";

/** Closes a turn of taking: what nothing waits for any more is no longer fresh or late. */
export function noteTaken(sub: Subscription): void {
  if (!isWaiting(sub)) sub.waitingSinceMs = undefined;
  if (sub.dirty.isEmpty && sub.forced.isEmpty) sub.fresh = false;
}

/** There was nothing to say: a client that came back and holds all that it wants has the set's version, though it was sent nothing. */
export function noteIdle(sub: Subscription, set: ResourceSet): void {
  if (!isWaiting(sub)) sub.progress.comparing = false;
  if (sub.sentVersion !== "" || sub.sent.size === 0 || isWaiting(sub)) return;
  sub.sentVersion = set.version;
  sub.acceptedVersion = set.version;
}

const MISSING_SHOWN_MAX = 100;

/** The subscription as operators see it. */
export function typeStatus(sub: Subscription): TypeStatus {
  return {
    typeUrl: sub.type.typeUrl,
    sentVersion: sub.sentVersion,
    acceptedVersion: sub.acceptedVersion,
    resources: sub.sent.size,
    pending: sub.inFlight !== undefined || isWaiting(sub),
    nack: sub.nack,
    lastAckTimeMs: sub.lastAckTimeMs,
    lastNackTimeMs: sub.lastNackTimeMs,
    missing: [...sub.missing].slice(0, MISSING_SHOWN_MAX),
    refusals: new Map(sub.progress.refusals),
  };
}
