import type { CachedResource } from "./resource.ts";

/** Steps that are kept: so many resources, at most, are held although they are gone. */
const STEPS_MAX = 1_000;
/** How long a client may be away and still be understood. */
const KEPT_MS = 3_600_000;
/** Removals that may have been kept from a client while it was cut off in the middle of a change (W6). */
const LINGERING_MAX = 32;
/** Different versions that are looked up between two changes, of which the outcome is remembered. */
const FOUND_MAX = 100;

const VERSION = /^[0-9a-f]{16}$/;

/** A change of one resource of a set. */
interface Step {
  /** The sum of the members' hashes before it. */
  readonly sumBefore: bigint;
  readonly name: string;
  /** Undefined: it came into being. */
  readonly before: CachedResource | undefined;
  /** Whether there is one after it. */
  readonly exists: boolean;
  readonly timeMs: number;
}

/** A change of one resource that somebody else remembers. */
export interface PastChange {
  readonly name: string;
  /** Undefined: there was none. */
  readonly before: CachedResource | undefined;
  /** Undefined: it went. */
  readonly after: CachedResource | undefined;
}

/** Where a set of the past differs from today's: what stood under a name; undefined where there was nothing. */
export type Past = ReadonlyMap<string, CachedResource | undefined>;

/**
 * What a set of resources was lately, by its version. A state-of-the-world client that comes back tells nothing of what it holds but that (S16), and
 * since a version is a hash of names and contents, who has it holds just this set. Bounded in number and in time.
 */
export class PastSets {
  readonly #now: () => number;
  #steps: Step[] = [];
  readonly #found = new Map<string, Past | undefined>();

  /** @param now milliseconds, on any clock. Default: performance.now. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** A resource of the set changes, comes or goes. @param sumBefore of all members' hashes, before that */
  note(sumBefore: bigint, { name, before, exists }: Omit<Step, "sumBefore" | "timeMs">): void {
    this.#found.clear();
    this.#steps.push({ sumBefore: asHash(sumBefore), name, before, exists, timeMs: this.#now() });
    // Some at a time: cutting off one with each step would move all the others.
    if (this.#steps.length >= 2 * STEPS_MAX) this.#steps = this.#steps.slice(-STEPS_MAX);
  }

  /** Takes what happened to the set before it was filled, the oldest first, in place of what is known. @param sumNow of all members' hashes */
  recall(changes: readonly PastChange[], sumNow: bigint): void {
    this.#found.clear();
    const timeMs = this.#now();
    let sum = sumNow;
    const steps = changes.toReversed().map(({ name, before, after }): Step => {
      sum = asHash(sum - (after?.setHash ?? 0n) + (before?.setHash ?? 0n));
      return { sumBefore: sum, name, before, exists: after !== undefined, timeMs };
    });
    this.#steps = steps.reverse().slice(-STEPS_MAX);
  }

  /**
   * The set that has, or had, this version, or one that a client holds who was cut off before it was told of the last removals.
   *
   * @param sumNow of all members' hashes
   * @returns undefined if no set that is remembered has it
   */
  find(version: string, sumNow: bigint): Past | undefined {
    if (this.#found.has(version)) return this.#found.get(version);
    const past = this.#search(version, sumNow);
    if (this.#found.size < FOUND_MAX) this.#found.set(version, past);
    return past;
  }

  #search(version: string, sumNow: bigint): Past | undefined {
    if (!VERSION.test(version)) return undefined;
    const wanted = BigInt(`0x${version}`);
    const sinceMs = this.#now() - KEPT_MS;
    const past = new Map<string, CachedResource | undefined>();
    let sum = asHash(sumNow);
    // Back in time, so that in the end each name has what it was first.
    for (let at = this.#steps.length; ; at--) {
      const lingering = sum === wanted ? [] : this.#lingering(wanted - sum, at);
      if (lingering !== undefined) {
        for (const resource of lingering) past.set(resource.name, resource);
        return past;
      }
      const step = this.#steps[at - 1];
      if (step === undefined || step.timeMs < sinceMs) return undefined;
      past.set(step.name, step.before);
      sum = step.sumBefore;
    }
  }

  /** The resources that went last before a step, as many as add up to a sum. */
  #lingering(sum: bigint, end: number): readonly CachedResource[] | undefined {
    const wanted = asHash(sum);
    const lingering = [];
    let found = 0n;
    for (let at = end - 1; at >= Math.max(0, end - LINGERING_MAX); at--) {
      const step = this.#steps[at];
      if (step?.before === undefined || step.exists) continue;
      found = asHash(found + step.before.setHash);
      lingering.push(step.before);
      if (found === wanted) return lingering;
    }
    return undefined;
  }
}

const asHash = (sum: bigint) => BigInt.asUintN(64, sum);
