/** A watch asks for so long after its service changed before others, and waits longer for an answer. */
const HOT_MS = 60_000;
const HOT_WAIT_MS = 10_000;
/** A question of a crowd waits at least so long for a change, */
const TURN_MS_MIN = 500;
/** and all of them together ask this often at most: neither Consul nor we do much else then, but little each second. */
const QUESTIONS_PER_SECOND_MAX = 150;

/** Permission to ask. */
export interface Slot {
  /** How long to wait for a change; undefined: as long as one likes. */
  readonly waitMs: number | undefined;
  /** Aborted when others came who have no slot (ask again, in turn), and when the watch ends. */
  readonly revoked: AbortSignal;
}

/** One watch among those that share the slots. */
interface Member {
  readonly service: string;
  hotUntilMs: number;
  /** Somebody says that there is something to hear. */
  hinted: boolean;
  holds: { readonly hot: boolean; readonly revoke: AbortController } | undefined;
  /** The end of what it waits for. */
  wake: PromiseWithResolvers<Slot> | undefined;
}

/**
 * Who may ask Consul now. A blocking question holds a connection (HTTP/1.1), of which Consul allows 200 to a client; over HTTP/2, a stream.
 * As long as there are enough, each watch holds one and hears at once. Where there are more watches than slots they take turns, a short
 * question each; first come those whose service somebody hinted at (hints.ts), and those that changed a moment ago, which then hold on
 * to their slots for a while, so that of a rollout only the first step waits for its turn.
 */
export class QuestionSlots {
  readonly #members = new Set<Member>();
  readonly #byService = new Map<string, Set<Member>>();
  /** In the order of their turns; those with something to hear in `#first`. */
  readonly #queue = new Set<Member>();
  readonly #first = new Set<Member>();
  readonly #crowding: (crowded: boolean) => void;
  #capacity: number;
  #held = 0;
  #hot = 0;
  #wasCrowded = false;

  /** @param crowding told when there begin or cease to be more watches than slots */
  constructor(capacity: number, crowding: (crowded: boolean) => void = () => {}) {
    this.#capacity = capacity;
    this.#crowding = crowding;
  }

  get isCrowded(): boolean {
    return this.#members.size > this.#capacity;
  }

  /** How many may ask at once. */
  set capacity(capacity: number) {
    this.#capacity = capacity;
    this.#look();
  }

  /**
   * A watch joins, and has a slot from each `acquire` to the next `release`; `leave` ends it all.
   * @param signal of the whole watch, listened to once: what is hung on it for each question is most of the garbage of a crowd
   */
  join(service: string, signal: AbortSignal): SlotMember {
    const member: Member = { service, hotUntilMs: 0, hinted: false, holds: undefined, wake: undefined };
    this.#members.add(member);
    this.#byService.set(service, (this.#byService.get(service) ?? new Set()).add(member));
    const abort = () => {
      this.#queue.delete(member);
      this.#first.delete(member);
      member.wake?.reject(signal.reason);
      member.holds?.revoke.abort();
    };
    signal.addEventListener("abort", abort);
    this.#look();
    return {
      acquire: () => this.#acquire(member, signal),
      release: (changed) => {
        if (changed) member.hotUntilMs = Date.now() + HOT_MS;
        this.#release(member);
      },
      leave: () => {
        signal.removeEventListener("abort", abort);
        this.#queue.delete(member);
        this.#first.delete(member);
        this.#members.delete(member);
        const namesakes = this.#byService.get(service);
        namesakes?.delete(member);
        if (namesakes?.size === 0) this.#byService.delete(service);
        this.#release(member);
        this.#look();
      },
    };
  }

  /** There may be something to hear of a service: its watches ask next. */
  hint(service: string): void {
    for (const member of this.#byService.get(service) ?? []) {
      member.hinted = true;
      if (this.#queue.delete(member)) this.#first.add(member);
    }
    this.#grant();
  }

  #acquire(member: Member, signal: AbortSignal): Promise<Slot> {
    const wake = Promise.withResolvers<Slot>();
    if (signal.aborted) {
      wake.reject(signal.reason);
      return wake.promise;
    }
    member.wake = wake;
    (member.hinted || this.#mayBeHot(member) ? this.#first : this.#queue).add(member);
    this.#grant();
    return wake.promise;
  }

  #release(member: Member): void {
    if (member.holds === undefined) return;
    if (member.holds.hot) this.#hot--;
    member.holds = undefined;
    this.#held--;
    this.#grant();
  }

  #grant(): void {
    while (this.#held < this.#capacity) {
      const [member] = this.#first.size > 0 ? this.#first : this.#queue;
      if (member === undefined) return;
      this.#first.delete(member);
      this.#queue.delete(member);
      const hot = this.isCrowded && !member.hinted && this.#mayBeHot(member);
      const revoke = new AbortController();
      member.hinted = false;
      member.holds = { hot, revoke };
      this.#held++;
      if (hot) this.#hot++;
      const turnMs = Math.max(TURN_MS_MIN, (this.#capacity * 1_000) / QUESTIONS_PER_SECOND_MAX);
      const waitMs = this.isCrowded ? (hot ? HOT_WAIT_MS : turnMs) : undefined;
      member.wake?.resolve({ waitMs, revoked: revoke.signal });
      member.wake = undefined;
    }
  }

  /** Half of the slots, at most, are for those that changed a moment ago. */
  #mayBeHot = (member: Member) => member.hotUntilMs > Date.now() && this.#hot < this.#capacity / 2;

  /** When it becomes crowded, those who wait for as long as they like make room. */
  #look(): void {
    const crowded = this.isCrowded;
    if (crowded !== this.#wasCrowded) {
      this.#wasCrowded = crowded;
      if (crowded) for (const { holds } of this.#members) holds?.revoke.abort();
      this.#crowding(crowded);
    }
    this.#grant();
  }
}

/** A watch's place among the others. */
export interface SlotMember {
  /** Waits for its turn. @throws the reason of the watch's signal */
  acquire(): Promise<Slot>;
  /** Gives the slot back. @param changed whether the answer was another one than before */
  release(changed: boolean): void;
  leave(): void;
}
