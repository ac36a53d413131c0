import type { Logger } from "pino";

import type { ResourceCache, ResourceUpdate } from "../xds/cache.ts";
import type { Candidates } from "../xds/candidates.ts";
import type { NodeRegistry, NodeStatus } from "../xds/status.ts";
import { HeldUpdates } from "./held.ts";
import type { RolloutPolicy } from "./policy.ts";
import type { Published, RevisionRange, RolloutRecord } from "./record.ts";
import type { RollBack } from "./roll-back.ts";
import type { Rollouts } from "./tracker.ts";

/** What publishing to one data plane first is made of. */
export interface StagingOptions {
  readonly cache: Pick<ResourceCache, "resources" | "ready">;
  readonly rollouts: Rollouts;
  readonly candidates: Candidates;
  readonly nodes: NodeRegistry;
  /** The newest rules of a gateway group; undefined if it publishes to all at once. */
  readonly policy: (group: string) => RolloutPolicy | undefined;
  readonly rollBack: RollBack;
  /** Whether data planes may be sent a resource at all: secrets don't cross networks as plain text. */
  readonly offers: (update: ResourceUpdate) => boolean;
  readonly log: Pick<Logger, "info" | "error">;
  /** Milliseconds since the epoch. Default: Date.now. */
  readonly now?: () => number;
}

/** A gateway group of which something is not published. */
interface Held {
  readonly updates: HeldUpdates;
  /** The first revision since what is published. */
  readonly first: bigint;
  /** The trial under way, if there is one. */
  trial: { readonly record: RolloutRecord; readonly nodeId: string; readonly policy: RolloutPolicy } | undefined;
  /** How the last trial ended. */
  failure: "none" | "refused" | "late";
  timer: NodeJS.Timeout | undefined;
}

/**
 * Stands between the translation and the cache: where a gateway group says so, a revision goes to one data plane first, as a view of its
 * own, and into the cache only when that one has accepted it. What is held is what differs from the cache, so that nothing grows with what
 * didn't change. Endpoints as registries tell them pass by, but for those of names that are held.
 */
export class Staging {
  readonly #options: StagingOptions;
  readonly #now: () => number;
  readonly #held = new Map<string, Held>();
  /** The data plane that tried last, of each gateway group. */
  readonly #lastNodes = new Map<string, string>();

  constructor(options: StagingOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  markReady(): void {
    this.#options.rollouts.markReady();
  }

  removeGroup(group: string, published: Published): void {
    this.#drop(group);
    this.#lastNodes.delete(group);
    this.#options.rollouts.removeGroup(group, published);
  }

  /** Ends all trials without a word. */
  close(): void {
    for (const { timer } of this.#held.values()) clearTimeout(timer);
  }

  /** @param published undefined: endpoints as registries tell them */
  update(group: string, updates: readonly ResourceUpdate[], published?: Published): void {
    const { rollouts, cache } = this.#options;
    const held = this.#held.get(group);
    if (published === undefined) this.#pass(group, held, updates);
    else if (!cache.ready || cache.resources(group, "") === undefined) rollouts.update(group, updates, published);
    else {
      const policy = this.#options.policy(group);
      if (held === undefined && policy === undefined) rollouts.update(group, updates, published);
      else this.#stage(group, held ?? this.#hold(group, published.first), updates, published, policy);
    }
  }

  #hold(group: string, first: bigint): Held {
    const updates = new HeldUpdates(group, this.#options.cache);
    const held: Held = { updates, first, trial: undefined, failure: "none", timer: undefined };
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
    if (ours.length > 0 && held.updates.merge(ours) && held.trial !== undefined) this.#offer(group, held);
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
    const { trial, failure } = held;
    // What a data plane refused is not tried again as it was; what came too late may be.
    const isWorthTrying = changed || trial !== undefined || failure === "late";
    const record = rollouts.begin(group, published, trial?.record);
    if (policy !== undefined && held.updates.size > 0 && !isWorthTrying) {
      rollouts.holdBack(record, "what an earlier revision changed was refused, and is as it was");
      return;
    }
    const nodeId = policy && held.updates.size > 0 ? this.#choose(group) : undefined;
    if (policy === undefined || nodeId === undefined) this.#publish(group, held, record);
    else this.#try(group, held, { record, nodeId, policy });
  }

  /** The one that tried last, while it is well; else the first by id of those that are, or that are there at all. */
  #choose(group: string): string | undefined {
    const ranks: readonly NodeStatus["state"][] = ["synced", "stale", "nacked"];
    const last = this.#lastNodes.get(group);
    const rank = ({ id, state }: NodeStatus) => ranks.indexOf(state) * 2 + (id === last ? 0 : 1);
    const [first] = this.#options.nodes
      .list()
      .filter(({ gatewayGroup, state }) => gatewayGroup === group && ranks.includes(state))
      .sort((a, b) => rank(a) - rank(b));
    return first?.id;
  }

  #try(group: string, held: Held, trial: NonNullable<Held["trial"]>): void {
    const { record, nodeId, policy } = trial;
    clearTimeout(held.timer);
    held.trial = trial;
    held.failure = "none";
    this.#lastNodes.set(group, nodeId);
    record.resources = held.updates.size;
    this.#options.log.info(
      { gatewayGroup: group, node: nodeId, revision: String(record.revisions.last) },
      "trial begins",
    );
    const deadlineMs = this.#now() + policy.trialTimeoutMs;
    // Not within the event that brought it: that of a stream, which may be in the middle of something.
    const look = () => void setImmediate(() => this.#look(group, record));
    record.beginTrial({ nodeId, deadlineMs }, look);
    this.#options.rollouts.run(record, () => this.#offer(group, held));
    held.timer = setTimeout(look, policy.trialTimeoutMs + 1).unref();
    look();
  }

  #offer(group: string, { updates, trial }: Held): void {
    if (trial === undefined) return;
    this.#options.candidates.offer(
      { id: trial.nodeId, gatewayGroup: group },
      updates.values().filter(this.#options.offers),
    );
  }

  /** Something of a trial has changed, or its time is up. */
  #look(group: string, record: RolloutRecord): void {
    const held = this.#held.get(group);
    if (held?.trial?.record !== record) return;
    const { nodeId, policy } = held.trial;
    const progress = record.progressOf(nodeId);
    // Whom it doesn't concern has nothing against it.
    if (progress === "accepted" || progress === undefined) this.#publish(group, held, record);
    else if (progress === "refused") {
      this.#fail(group, held, record, "refused", `${nodeId} tried it first and refused it`);
      if (policy.onRefusal === "roll_back") void this.#rollBack(group, held.first, record);
    } else if (this.#now() >= (record.trial?.deadlineMs ?? 0)) {
      if (policy.onTimeout === "publish") {
        this.#publish(group, held, record);
        return;
      }
      const seconds = policy.trialTimeoutMs / 1000;
      const why = progress === "left" ? "left before it could answer" : `did not accept it within ${seconds}s`;
      this.#fail(group, held, record, "late", `${nodeId} tried it first and ${why}`);
      if (policy.onTimeout === "roll_back") void this.#rollBack(group, held.first, record);
    }
  }

  /** All data planes get what is held; the one that tried it has it already. */
  #publish(group: string, held: Held, record: RolloutRecord): void {
    clearTimeout(held.timer);
    this.#held.delete(group);
    this.#options.rollouts.publish(record, held.updates.values());
    // Now it is what is published, so that nothing changes for the one that tried it.
    this.#options.candidates.withdraw(group);
  }

  #fail(group: string, held: Held, record: RolloutRecord, failure: "refused" | "late", why: string): void {
    clearTimeout(held.timer);
    held.trial = undefined;
    held.failure = failure;
    this.#options.candidates.withdraw(group);
    this.#options.rollouts.holdBack(record, `${why}; the others keep what they had`);
    const revision = String(record.revisions.last);
    this.#options.log.error({ gatewayGroup: group, revision, why }, "revision held back");
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
    const held = this.#held.get(group);
    if (held === undefined) return;
    clearTimeout(held.timer);
    this.#held.delete(group);
    if (held.trial !== undefined) this.#options.rollouts.holdBack(held.trial.record, "its gateway group was deleted");
    this.#options.candidates.withdraw(group);
  }
}
