import type { Logger } from "pino";

import type { PublishedResource, TrialRow } from "../store/trial-rows.ts";
import type { ResourceCache, ResourceUpdate } from "../xds/cache.ts";
import type { Candidates } from "../xds/candidates.ts";
import type { NodeRegistry } from "../xds/status.ts";
import { Decisions } from "./decisions.ts";
import { HeldUpdates } from "./held.ts";
import type { Ending, Held, Open } from "./hold.ts";
import type { RolloutPolicy } from "./policy.ts";
import type { Published, RevisionRange, RolloutRecord } from "./record.ts";
import type { RollBack } from "./roll-back.ts";
import type { Rollouts } from "./tracker.ts";
import { chooseNode, splitHeld, type TrialPlace, verdictIn } from "./trial-place.ts";

/** What publishing to one data plane first is made of. */
export interface StagingOptions {
  readonly cache: Pick<ResourceCache, "resources" | "ready">;
  readonly rollouts: Rollouts;
  readonly candidates: Candidates;
  readonly nodes: NodeRegistry;
  readonly place: TrialPlace;
  /** The newest rules of a gateway group; undefined if it publishes to all at once. */
  readonly policy: (group: string) => RolloutPolicy | undefined;
  readonly rollBack: RollBack;
  /** Whether data planes may be sent a resource at all: secrets don't cross networks as plain text. */
  readonly offers: (update: ResourceUpdate) => boolean;
  readonly log: Pick<Logger, "info" | "error">;
}

/** Another control plane's trial is looked at so often, besides when it says that it has ended. */
const LOOK_AGAIN_MS = 1_000;
/** A control plane that still lives after so many looks at what it refused has rolled it back, or found that it can't. */
const STAND_IN_LOOKS_MAX = 30;

/**
 * Stands between the translation and the cache: where a gateway group says so, a revision goes to one data plane first, as a view of its
 * own, and into the cache only when that one has accepted it. What is held is what differs from the cache, so that nothing grows with what
 * didn't change. Endpoints as registries tell them pass by, but for those of names that are held. Of several control planes one has it
 * tried, and the others do as it found; what is published instead is in the store, for those that start meanwhile.
 */
export class Staging {
  readonly #options: StagingOptions;
  readonly #held = new Map<string, Held>();
  /** The data plane that tried last, of each gateway group. */
  readonly #lastNodes = new Map<string, string>();
  /** What was held when this control plane started, until the first fill is complete. */
  readonly #restored = new Map<
    string,
    TrialRow & { readonly published: readonly PublishedResource[]; newest?: readonly ResourceUpdate[] }
  >();
  readonly #decisions: Decisions;
  #unfollow = async () => {};

  constructor(options: StagingOptions) {
    this.#options = options;
    this.#decisions = new Decisions(options.log);
  }

  /** Reads what is held, before anything is handed over. @throws StoreError */
  async restore(): Promise<void> {
    const { rows } = this.#options.place;
    for (const row of await rows.load()) if (row.published.length > 0) this.#restored.set(row.gatewayGroup, row);
    this.#unfollow = rows.follow(() => {
      for (const [group, held] of this.#held) if (held.open?.nodeId === undefined) this.#decide(group, held);
    });
  }

  markReady(): void {
    this.#options.rollouts.markReady();
    for (const [group, row] of this.#restored) if (row.newest !== undefined) this.#resume(group, row, row.newest);
    this.#restored.clear();
  }

  removeGroup(group: string, published: Published): void {
    this.#drop(group);
    this.#lastNodes.delete(group);
    this.#options.rollouts.removeGroup(group, published);
  }

  /** Ends all trials without a word. */
  async close(): Promise<void> {
    const decided = this.#decisions.close();
    for (const { timer } of this.#held.values()) clearTimeout(timer);
    await this.#unfollow();
    await decided;
  }

  /** @param published undefined: endpoints as registries tell them */
  update(group: string, updates: readonly ResourceUpdate[], published?: Published): void {
    const { rollouts, cache } = this.#options;
    const held = this.#held.get(group);
    if (published === undefined) this.#pass(group, held, updates);
    else if (!cache.ready) this.#fill(group, updates);
    else if (cache.resources(group, "") === undefined) rollouts.update(group, updates, published);
    else {
      const policy = this.#options.policy(group);
      if (held === undefined && policy === undefined) rollouts.update(group, updates, published);
      else this.#stage(group, held ?? this.#hold(group, published.first), updates, published, policy);
    }
  }

  /** The first fill: what is held stays held. */
  #fill(group: string, updates: readonly ResourceUpdate[]): void {
    const restored = this.#restored.get(group);
    if (restored === undefined) {
      this.#options.rollouts.update(group, updates);
      return;
    }
    const { published, held } = splitHeld(updates, restored.published);
    restored.newest = held;
    this.#options.rollouts.update(group, published);
  }

  /** Goes on with what was held before this control plane started. */
  #resume(group: string, row: TrialRow, newest: readonly ResourceUpdate[]): void {
    const { rollouts } = this.#options;
    const policy = this.#options.policy(group);
    const held = this.#hold(group, row.first, true);
    held.updates.merge(newest);
    const record = rollouts.begin(group, { first: row.first, last: row.last, objects: [] });
    this.#lastNodes.set(group, row.node);
    if (policy === undefined || held.updates.size === 0) this.#publish(group, held, record);
    else if (row.state === "refused" || row.state === "late") {
      held.failure = row.state;
      rollouts.holdBack(record, row.why);
      this.#standIn(group, held, record, policy, row);
    } else this.#open(group, held, record, policy);
  }

  #hold(group: string, first: bigint, isRestored = false): Held {
    const updates = new HeldUpdates(group, this.#options.cache);
    const held: Held = { updates, first, open: undefined, failure: "none", timer: undefined, isRestored };
    this.#held.set(group, held);
    return held;
  }

  /** What registries say of names that are held is held with them. */
  #pass(group: string, held: Held | undefined, updates: readonly ResourceUpdate[]): void {
    const { rollouts } = this.#options;
    if (held === undefined) {
      rollouts.update(group, updates);
      return;
    }
    const ours = updates.filter((update) => held.updates.has(update));
    if (ours.length > 0 && held.updates.merge(ours)) this.#offer(group, held);
    const others = updates.filter((update) => !ours.includes(update));
    if (others.length > 0) rollouts.update(group, others);
  }

  #stage(
    group: string,
    held: Held,
    updates: readonly ResourceUpdate[],
    published: Published,
    policy: RolloutPolicy | undefined,
  ): void {
    const { rollouts } = this.#options;
    const changed = held.updates.merge(updates);
    const { open, failure } = held;
    // What a data plane refused is not tried again as it was; what came too late may be.
    const isWorthTrying = changed || open !== undefined || failure === "late";
    const record = rollouts.begin(group, published, open?.record);
    if (policy === undefined || held.updates.size === 0) this.#publish(group, held, record);
    else if (isWorthTrying) this.#open(group, held, record, policy);
    else {
      clearTimeout(held.timer);
      rollouts.holdBack(record, "what an earlier revision changed was refused, and is as it was");
      this.#note(group, held, record, { state: "refused", why: record.heldBack });
    }
  }

  #open(group: string, held: Held, record: RolloutRecord, policy: RolloutPolicy): void {
    held.open = { record, policy, nodeId: undefined, isOverdue: false, isEnding: false };
    held.failure = "none";
    record.state = "trial";
    record.resources = held.updates.size;
    this.#decide(group, held);
  }

  #decideLater(group: string, held: Held): void {
    clearTimeout(held.timer);
    if (!this.#decisions.isClosed) held.timer = setTimeout(() => this.#decide(group, held), LOOK_AGAIN_MS).unref();
  }

  /** Finds out who tries what is open: a data plane of this control plane, or of another, or nobody. */
  #decide(group: string, held: Held): void {
    this.#decisions.enqueue(group, async () => {
      const { open } = held;
      if (this.#decisions.isClosed || this.#held.get(group) !== held) return;
      if (open === undefined || open.isEnding || open.nodeId !== undefined) return;
      const { place, nodes } = this.#options;
      // If the store fails, or another control plane has it tried.
      this.#decideLater(group, held);
      const { last } = open.record.revisions;
      const node = chooseNode(nodes, group, this.#lastNodes.get(group));
      const row = await (node === undefined
        ? place.rows.read(group)
        : place.rows.begin(this.#rowOf(group, held, open.record, node), held.updates.published(), place.isLive));
      // Meanwhile a newer revision may have joined, which is decided on next, or the gateway group be gone.
      if (held.open !== open || this.#held.get(group) !== held) return;
      const verdict = verdictIn(row, place.self, last);
      if (verdict !== undefined) {
        this.#take(group, held, open.record, verdict);
        this.#standIn(group, held, open.record, open.policy, verdict);
      } else if (node !== undefined && row?.holder === place.self) this.#try(group, held, open, node);
      else if (row?.state === "trial" && row.holder !== place.self && place.isLive(row.holder)) return;
      else if (held.isRestored || (await place.nodesElsewhere(group))) return;
      else if (held.open !== open || this.#held.get(group) !== held) return;
      // There is nobody to try it, nor anybody who could suffer from it.
      else this.#publish(group, held, open.record);
    });
  }

  #try(group: string, held: Held, open: Open, nodeId: string): void {
    const { record, policy } = open;
    clearTimeout(held.timer);
    open.nodeId = nodeId;
    this.#lastNodes.set(group, nodeId);
    this.#options.log.info(
      { gatewayGroup: group, node: nodeId, revision: String(record.revisions.last) },
      "trial begins",
    );
    const deadlineMs = Date.now() + policy.trialTimeoutMs;
    // Not within the event that brought it: that of a stream, which may be in the middle of something.
    const look = () => void setImmediate(() => this.#look(group, open));
    record.beginTrial({ nodeId, deadlineMs }, look);
    this.#options.rollouts.run(record, () => this.#offer(group, held));
    // By the timer alone: a clock that is set must neither end a trial nor let it go on for ever.
    const timeIsUp = () => {
      open.isOverdue = true;
      look();
    };
    held.timer = setTimeout(timeIsUp, policy.trialTimeoutMs).unref();
    this.#options.rollouts.changed();
    look();
  }

  #offer(group: string, { updates, open }: Held): void {
    if (open?.nodeId === undefined) return;
    this.#options.candidates.offer(
      { id: open.nodeId, gatewayGroup: group },
      updates.values().filter(this.#options.offers),
    );
  }

  /** Something of a trial has changed, or its time is up. */
  #look(group: string, open: Open): void {
    const held = this.#held.get(group);
    const { nodeId, policy, record } = open;
    if (this.#decisions.isClosed || held?.open !== open || nodeId === undefined || open.isEnding) return;
    const progress = record.progressOf(nodeId);
    // Whom it doesn't concern has nothing against it.
    if (progress === "accepted" || progress === undefined)
      this.#end(group, held, open, { state: "published", why: "" });
    else if (progress === "refused") {
      this.#end(group, held, open, { state: "refused", why: `${nodeId} tried it first and refused it` });
    } else if (open.isOverdue) {
      const seconds = policy.trialTimeoutMs / 1000;
      const why = progress === "left" ? "left before it could answer" : `did not accept it within ${seconds}s`;
      const state = policy.onTimeout === "publish" ? "published" : "late";
      this.#end(group, held, open, { state, why: `${nodeId} tried it first and ${why}` });
    }
  }

  /** Writes down how a trial ended, before anything is done about it. */
  #end(group: string, held: Held, open: Open, { state, why }: Ending): void {
    const { place, rollouts, candidates } = this.#options;
    const { record, policy } = open;
    open.isEnding = true;
    const ending: Ending = { state, why: state === "published" ? "" : `${why}; the others keep what they had` };
    this.#decisions.enqueue(group, async () => {
      const row = { ...this.#rowOf(group, held, record, open.nodeId ?? ""), ...ending };
      const counts = await this.#decisions.write(group, () => place.rows.end(row));
      // Meanwhile a newer revision may have joined, which begins a trial anew.
      if (counts === undefined || held.open !== open || this.#held.get(group) !== held) return;
      const isOurs = counts.holder === place.self;
      if (!isOurs && counts.state === "trial") {
        // This control plane stood still for so long that another one has it tried now.
        candidates.withdraw(group);
        [open.nodeId, open.isOverdue, open.isEnding] = [undefined, false, false];
        this.#decide(group, held);
        return;
      }
      this.#take(group, held, record, counts);
      candidates.withdraw(group);
      rollouts.changed();
      if (!isOurs) this.#standIn(group, held, record, policy, counts);
      else if (isRolledBack(policy, state)) await this.#rollBack(group, held.first, record);
    });
  }

  /** Rolls back what another control plane refused, if that one ends before it did. Of several that do, one writes it. */
  #standIn(
    group: string,
    held: Held,
    record: RolloutRecord,
    policy: RolloutPolicy,
    verdict: TrialRow,
    looks = STAND_IN_LOOKS_MAX,
  ): void {
    if (!isRolledBack(policy, verdict.state) || looks === 0) return;
    held.timer = setTimeout(() => {
      if (this.#decisions.isClosed || this.#held.get(group) !== held || held.open !== undefined) return;
      if (this.#options.place.isLive(verdict.holder)) this.#standIn(group, held, record, policy, verdict, looks - 1);
      else this.#decisions.enqueue(group, () => this.#rollBack(group, held.first, record));
    }, LOOK_AGAIN_MS).unref();
  }

  /** Does as a trial ended, here or on another control plane. */
  #take(group: string, held: Held, record: RolloutRecord, { state, why }: Ending): void {
    clearTimeout(held.timer);
    if (state === "published") {
      this.#hand(group, held, record);
      return;
    }
    held.open = undefined;
    held.failure = state === "late" ? "late" : "refused";
    this.#options.rollouts.holdBack(record, why);
    const revision = String(record.revisions.last);
    this.#options.log.error({ gatewayGroup: group, revision, why }, "revision held back");
  }

  /** All data planes get what is held, without a trial. */
  #publish(group: string, held: Held, record: RolloutRecord): void {
    clearTimeout(held.timer);
    this.#note(group, held, record, { state: "published", why: "" });
    this.#hand(group, held, record);
  }

  /** All data planes get what is held; the one that tried it has it already. */
  #hand(group: string, held: Held, record: RolloutRecord): void {
    this.#held.delete(group);
    this.#options.rollouts.publish(record, held.updates.values());
    // Now it is what is published, so that nothing changes for the one that tried it.
    this.#options.candidates.withdraw(group);
  }

  /** Writes down what was decided without a trial. */
  #note(group: string, held: Held, record: RolloutRecord, ending: Ending): void {
    const row = { ...this.#rowOf(group, held, record, this.#lastNodes.get(group) ?? ""), ...ending };
    this.#decisions.enqueue(group, () => this.#decisions.write(group, () => this.#options.place.rows.settle(row)));
  }

  #rowOf(gatewayGroup: string, { first }: Held, { revisions }: RolloutRecord, node: string) {
    return { gatewayGroup, holder: this.#options.place.self, node, first, last: revisions.last };
  }

  async #rollBack(group: string, first: bigint, record: RolloutRecord): Promise<void> {
    const range: RevisionRange = { first, last: record.revisions.last };
    const done = await this.#options.rollBack(group, range);
    if (done.ok) record.rolledBackBy = done.revision;
    else record.heldBack += `; it is not rolled back: ${done.why}`;
    this.#options.rollouts.changed();
    const { log } = this.#options;
    const fields = { gatewayGroup: group, revision: String(range.last) };
    if (done.ok) log.info({ ...fields, by: String(done.revision) }, "revision rolled back");
    else log.error({ ...fields, why: done.why }, "revision not rolled back");
  }

  #drop(group: string): void {
    this.#decisions.enqueue(group, () => this.#decisions.write(group, () => this.#options.place.rows.drop(group)));
    const held = this.#held.get(group);
    if (held === undefined) return;
    clearTimeout(held.timer);
    this.#held.delete(group);
    if (held.open !== undefined) this.#options.rollouts.holdBack(held.open.record, "its gateway group was deleted");
    this.#options.candidates.withdraw(group);
  }
}

const isRolledBack = ({ onRefusal, onTimeout }: RolloutPolicy, state: TrialRow["state"]): boolean =>
  (state === "refused" && onRefusal === "roll_back") || (state === "late" && onTimeout === "roll_back");
