import type { ObjectKey } from "../model/objects.ts";
import type { Outstanding } from "../xds/status.ts";
import type { RefusedResource } from "./blame.ts";

/** Revisions of the store, both ends included: those that are written in a row reach data planes together. */
export interface RevisionRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** Revisions, and the objects of one gateway group that they changed. */
export interface Published extends RevisionRange {
  readonly objects: readonly ObjectKey[];
}

/** What a person can look through. */
const OBJECTS_KEPT = 10;

/**
 * How far a data plane has come with a rollout: something of it waits to be sent; all is sent, and not answered; all is accepted; something
 * is refused; or its streams have ended before it could say.
 */
export type NodeProgress = "waiting" | "sent" | "accepted" | "refused" | "left";

/**
 * How a rollout stands: tried on one data plane first; under way; accepted by all whom it concerns; refused by some, while the others have
 * it; or held back, after the one data plane that tried it refused it or didn't answer in time.
 */
export type RolloutState = "trial" | "in_progress" | "complete" | "refused" | "held_back";

/** A data plane that refused something of a rollout. */
export interface NodeRefusal {
  readonly nodeId: string;
  readonly resources: readonly RefusedResource[];
}

/** The one data plane that tries a rollout before the others. */
export interface Trial {
  readonly nodeId: string;
  /** When it must have accepted, milliseconds since the epoch. */
  readonly deadlineMs: number;
}

interface Participant {
  progress: NodeProgress;
  /** Since when, on the clock of performance.now(): what is waited for must not hang on how the machine's clock is set. */
  sinceMs: number;
}

/** Of so many data planes the refusals are kept; the others are counted. */
const REFUSALS_MAX = 100;

/** A data plane that is gone may be one that reconnects: the end of the rollout waits for it so long. */
const LEFT_GRACE_MS = 5_000;

/**
 * One rollout: what became of some revisions in one gateway group. It concerns the data planes that want something of what changed; those
 * that connect meanwhile join it, and those that leave are waited for a while.
 */
export class RolloutRecord {
  readonly group: string;
  readonly revisions: RevisionRange;
  readonly startMs: number;
  /** The objects of the group that the revisions changed, the first few. */
  readonly objects: readonly ObjectKey[];
  /** By which its changes are known to streams (xds/publications.ts); undefined until they are published. */
  publication: number | undefined;
  state: RolloutState = "in_progress";
  endMs: number | undefined;
  /** How many resources it changes. */
  resources = 0;
  trial: Trial | undefined;
  /** Called when the data plane that tries it has got on. */
  #onTrial: () => void = () => {};
  /** Why it is held back, in words; empty if it isn't. */
  heldBack = "";
  /** The revision that took it back. */
  rolledBackBy: bigint | undefined;
  readonly refusals: NodeRefusal[] = [];
  readonly #participants = new Map<string, Participant>();
  /** How many of them owe an answer: asked for at each step of each. */
  #owing = 0;
  /** How long each data plane took, the last time that it accepted. */
  readonly #acceptedMs = new Map<string, number>();

  constructor(group: string, { objects, ...revisions }: Published, startMs: number) {
    this.group = group;
    this.revisions = revisions;
    this.objects = objects.slice(0, OBJECTS_KEPT);
    this.startMs = startMs;
  }

  get isOver(): boolean {
    return this.endMs !== undefined;
  }

  /** How many data planes stand how; `left` are those that have not come back. */
  counts(): Record<NodeProgress, number> {
    const counts = { waiting: 0, sent: 0, accepted: 0, refused: 0, left: 0 };
    for (const { progress } of this.#participants.values()) counts[progress]++;
    return counts;
  }

  /** How long data planes took to accept, from the beginning, in ascending order. */
  acceptedMs(): readonly number[] {
    return [...this.#acceptedMs.values()].sort((a, b) => a - b);
  }

  /**
   * A data plane has come, gone, or got on.
   * @param outstanding undefined: it is gone
   * @returns whether that changes anything
   */
  step(nodeId: string, outstanding: Outstanding | undefined, nowMs: number): boolean {
    const { publication } = this;
    if (publication === undefined || this.isOver) return false;
    const before = this.#participants.get(nodeId)?.progress;
    if (before === "refused") return false;
    // One that accepted and comes back with what it had before, as from its disk after a crash, has it to get again.
    if (before === "accepted" && (outstanding === undefined || outstanding.unanswered > publication)) return false;
    let progress: NodeProgress;
    if (outstanding === undefined) progress = "left";
    else if (outstanding.unanswered > publication) progress = "accepted";
    else progress = outstanding.unsent > publication ? "sent" : "waiting";
    // Whoever owes nothing when the rollout begins, or at the first look, is not concerned.
    if (before === undefined && (progress === "accepted" || progress === "left")) return false;
    if (before === progress) return false;
    this.#set(nodeId, progress);
    if (progress === "accepted") this.#acceptedMs.set(nodeId, nowMs - this.startMs);
    else this.#acceptedMs.delete(nodeId);
    return true;
  }

  /** A data plane refused resources of the rollout. */
  refuse(refusal: NodeRefusal): void {
    this.#set(refusal.nodeId, "refused");
    if (this.refusals.length < REFUSALS_MAX) this.refusals.push(refusal);
  }

  /** Whether the data plane still owes an answer. */
  awaits(nodeId: string): boolean {
    const progress = this.#participants.get(nodeId)?.progress;
    return progress !== undefined && progress !== "accepted" && progress !== "refused";
  }

  /** One data plane tries it first. @param onStep is called when that one has got on */
  beginTrial(trial: Trial, onStep: () => void): void {
    this.state = "trial";
    this.trial = trial;
    this.#onTrial = onStep;
  }

  /** To be called after steps of a trial. */
  trialMoved(): void {
    if (this.state === "trial") this.#onTrial();
  }

  /** How far a data plane has come; undefined if the rollout doesn't concern it. */
  progressOf(nodeId: string): NodeProgress | undefined {
    return this.#participants.get(nodeId)?.progress;
  }

  /** Whether its publication is one of these, both included. */
  isPublishedWithin(first: number, last: number): boolean {
    return this.publication !== undefined && first <= this.publication && this.publication <= last;
  }

  /** When it may end, if nothing more happens, on the clock of performance.now(); undefined while somebody who is there owes an answer. */
  dueMs(): number | undefined {
    if (this.#owing > 0) return undefined;
    let due = Number.NEGATIVE_INFINITY;
    for (const { progress, sinceMs } of this.#participants.values()) {
      if (progress === "left") due = Math.max(due, sinceMs + LEFT_GRACE_MS);
    }
    return due;
  }

  #set(nodeId: string, progress: NodeProgress): void {
    const before = this.#participants.get(nodeId)?.progress;
    this.#owing += Number(isOwing(progress)) - Number(isOwing(before));
    this.#participants.set(nodeId, { progress, sinceMs: performance.now() });
  }

  /** Nothing more is waited for. */
  end(state: Exclude<RolloutState, "trial" | "in_progress">, nowMs: number): void {
    this.state = state;
    this.endMs = nowMs;
  }
}

const isOwing = (progress: NodeProgress | undefined): boolean => progress === "waiting" || progress === "sent";
