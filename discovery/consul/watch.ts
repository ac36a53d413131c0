import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import type { ServiceKey, ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { type Addresses, HostNames } from "../host-names.ts";
import { DiscoveryError } from "../source.ts";
import { turn } from "../turns.ts";
import type { ConsulAnswer, ConsulClient } from "./client.ts";
import { mayRead } from "./may-read.ts";
import { entriesOf, hostNamesOf, toSnapshot } from "./convert.ts";
import { queryOf } from "./query.ts";
import type { ConsulSettings } from "./settings.ts";
import type { QuestionSlots } from "./slots.ts";

/** How long Consul may keep a question whose answer doesn't change; drawn anew each time, so that watches don't fall into step. */
const WAIT_MS_MIN = 240_000;
const WAIT_MS_MAX = 300_000;
/** Instances that are host names are looked up again so often. */
const WAIT_MS_NAMES = 30_000;
/** Consul itself adds up to a 16th of the wait. */
const WAIT_MARGIN = 1.1;
const ANSWER_MS_MAX = 10_000;

/** Consul's indexes move for other services' sake too; so long at least between two questions. */
const INTERVAL_MS_MIN = 20;

const noAddresses: Addresses = new Map();

/** What watches of one Consul share. */
export interface WatchContext {
  readonly client: ConsulClient;
  readonly settings: ConsulSettings;
  readonly slots: QuestionSlots;
  /** The mark of the cluster; "" if it has none, undefined if it could not be had now. */
  readonly identity: (signal: AbortSignal) => Promise<string | undefined>;
}

/** Yields a service's instances now and whenever Consul says that something changed (blocking queries). */
export async function* watch(
  context: WatchContext,
  service: ServiceKey,
  signal: AbortSignal,
): AsyncGenerator<ServiceSnapshot> {
  const watched = new Watch(context, service, signal);
  const place = context.slots.join(service.service, signal);
  try {
    while (!signal.aborted) {
      const slot = await place.acquire();
      if (slot === undefined) return;
      const askedMs = performance.now();
      const snapshot = await watched.next(slot.waitMs, slot.revoked);
      place.release(snapshot !== undefined);
      if (snapshot !== undefined) yield snapshot;
      const restMs = INTERVAL_MS_MIN - (performance.now() - askedMs);
      // So short that its end may be missed: what would be hung on the signal is garbage, for each question of a crowd.
      if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
    }
  } finally {
    place.leave();
  }
}

/** What is remembered from one question to the next. As little as possible: there may be thousands of watches. */
class Watch {
  readonly #context: WatchContext;
  readonly #service: ServiceKey;
  readonly #signal: AbortSignal;
  /** Made for the first one. */
  #hostNames: HostNames | undefined;
  #index = 0;
  /** The last answer, if instances in it are host names: their addresses may change without a word of Consul. */
  #named: ConsulAnswer | undefined;
  #identity: string | undefined;
  #discontinuous = false;

  constructor(context: WatchContext, service: ServiceKey, signal: AbortSignal) {
    this.#context = context;
    this.#service = service;
    this.#signal = signal;
  }

  /**
   * Asks once. @returns undefined if nothing changed
   * @param waitMs how long to wait for a change at most
   * @param revoked ends the waiting, as does the end of the watch
   */
  async next(waitMs: number | undefined, revoked: AbortSignal): Promise<ServiceSnapshot | undefined> {
    const answer = await this.#ask(waitMs, revoked);
    if (answer === undefined) return undefined;
    if (answer.body === undefined) return this.#named && (await this.#snapshot(this.#named));
    await refuseDenied(this.#context.client, answer, this.#service, this.#signal);
    const next = nextIndex(this.#index, answer.index);
    // An index that went back: this answer is taken with doubt already, and what follows starts over.
    const isBack = next === 0;
    if (isBack) this.#identity = undefined;
    this.#discontinuous ||= isBack;
    const snapshot = await this.#snapshot(answer);
    this.#discontinuous = isBack;
    this.#index = next;
    return snapshot;
  }

  async #ask(waitMs: number | undefined, revoked: AbortSignal): Promise<ConsulAnswer | undefined> {
    const { client, settings } = this.#context;
    // A hundred watches that were answered together ask again together.
    await turn();
    const path = `/v1/health/service/${encodeURIComponent(this.#service.service)}`;
    const query = queryOf(settings, this.#service);
    const index = this.#index;
    if (index === 0) {
      return await client.askBlocking({ path, query, signal: this.#signal, timeoutMs: ANSWER_MS_MAX });
    }
    const wait = waitMs ?? patienceMs(this.#named !== undefined);
    try {
      return await client.askBlocking({
        path,
        query: { ...query, index: String(index), wait: `${Math.round(wait)}ms` },
        signal: revoked,
        timeoutMs: wait * WAIT_MARGIN + ANSWER_MS_MAX,
        knownIndex: index,
      });
    } catch (error) {
      if (revoked.aborted && !this.#signal.aborted) return undefined;
      throw error;
    }
  }

  async #snapshot(answer: ConsulAnswer): Promise<ServiceSnapshot> {
    const { settings, identity } = this.#context;
    const entries = entriesOf(answer.body);
    const names = hostNamesOf(entries);
    this.#named = names.length > 0 ? answer : undefined;
    this.#identity ??= await identity(this.#signal);
    if (names.length > 0) this.#hostNames ??= new HostNames();
    const addresses = (await this.#hostNames?.resolve(names)) ?? noAddresses;
    const snapshot = toSnapshot(this.#service, entries, addresses, { passingOnly: settings.passingOnly ?? false });
    snapshot.revision = String(answer.index);
    snapshot.observeTime = timestampFromMs(Date.now());
    snapshot.clusterIdentity = this.#identity ?? "";
    snapshot.discontinuous = this.#discontinuous;
    // A service is nothing but its instances here; a filter may have hidden them.
    snapshot.unknownService = entries.length === 0 && !settings.filter;
    if (answer.filteredByAcls) {
      snapshot.hidden = `Consul: the token lacks node:read on some nodes of "${this.#service.service}": ACLs hid their instances`;
    }
    return snapshot;
  }
}

/**
 * The index to wait for next (https://developer.hashicorp.com/consul/api-docs/features/blocking, "Implementation details"): one that
 * goes back means a restored Consul, so 0 to start over; one that isn't above 0 would make a busy loop, so at least 1.
 */
export function nextIndex(before: number, answered: number): number {
  if (answered < before) return 0;
  return Math.max(1, answered);
}

const patienceMs = (hasNames: boolean) =>
  hasNames ? WAIT_MS_NAMES : WAIT_MS_MIN + Math.random() * (WAIT_MS_MAX - WAIT_MS_MIN);

/**
 * An answer without instances because the token may not see them is no empty service.
 * @throws DiscoveryError "permission_denied"
 */
async function refuseDenied(
  client: ConsulClient,
  { body, filteredByAcls }: ConsulAnswer,
  { service }: ServiceKey,
  signal: AbortSignal,
): Promise<void> {
  if (!Array.isArray(body) || body.length > 0) return;
  const denied = () => {
    const words = client.hasToken
      ? `Consul: the token lacks service:read on "${service}", or node:read: ACLs filtered its instances out`
      : `Consul: without a token no instances are shown: give the registry one with service:read on "${service}" and node:read`;
    return new DiscoveryError("permission_denied", words);
  };
  if (filteredByAcls) throw denied();
  // Consul doesn't tell those who come without a token that there was more to see.
  if (!client.hasToken && !(await mayRead(client, service, signal))) throw denied();
}
