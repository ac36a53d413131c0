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

/**
 * Who may ask Consul now. A blocking question holds a connection (HTTP/1.1), of which Consul allows 200 to a client; over HTTP/2, a stream.
 * As long as there are enough, each watch holds one and hears at once. Where there are more watches than slots they take turns, a short
 * question each; first come those whose service somebody hinted at (hints.ts), and those that changed a moment ago, which then hold on
 * to their slots for a while, so that of a rollout only the first step waits for its turn.
 */
export class QuestionSlots {
  /** Lists, which mostly have one. */
  readonly #byService = new Map<string, readonly Member[]>();
  /** In the order of their turns; those with something to hear in `#first`. */
  readonly #queue = new Set<Member>();
  readonly #first = new Set<Member>();
  readonly #crowding: (crowded: boolean) => void;
  #capacity: number;
  #size = 0;
  #held = 0;
  #hot = 0;
  #wasCrowded = false;

  /** @param crowding told when there begin or cease to be more watches than slots */
  constructor(capacity: number, crowding: (crowded: boolean) => void = () => {}) {
    this.#capacity = capacity;
    this.#crowding = crowding;
  }

  get isCrowded(): boolean {
    return this.#size > this.#capacity;
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
    const member = new Member(this.#desk, service, signal);
    this.#size++;
    this.#byService.set(service, [...(this.#byService.get(service) ?? []), member]);
    signal.addEventListener("abort", member);
    this.#look();
    return member;
  }

  /** There may be something to hear of a service: its watches ask next. */
  hint(service: string): void {
    for (const member of this.#byService.get(service) ?? []) {
      member.hinted = true;
      if (this.#queue.delete(member)) this.#first.add(member);
    }
    this.#grant();
  }

  /** What members do here. */
  readonly #desk: Desk = {
    enqueue: (member) => {
      (member.hinted || this.#mayBeHot(member) ? this.#first : this.#queue).add(member);
      this.#grant();
    },
    dequeue: (member) => {
      this.#queue.delete(member);
      this.#first.delete(member);
    },
    release: (member) => {
      if (member.revoke === undefined) return;
      if (member.isHot) this.#hot--;
      member.revoke = undefined;
      this.#held--;
      this.#grant();
    },
    leave: (member) => {
      const others = this.#byService.get(member.service)?.filter((each) => each !== member) ?? [];
      if (others.length === 0) this.#byService.delete(member.service);
      else this.#byService.set(member.service, others);
      this.#size--;
      this.#look();
    },
  };

  #grant(): void {
    while (this.#held < this.#capacity) {
      const [member] = this.#first.size > 0 ? this.#first : this.#queue;
      if (member === undefined) return;
      this.#first.delete(member);
      this.#queue.delete(member);
      const hot = this.isCrowded && !member.hinted && this.#mayBeHot(member);
      this.#held++;
      if (hot) this.#hot++;
      const turnMs = Math.max(TURN_MS_MIN, (this.#capacity * 1_000) / QUESTIONS_PER_SECOND_MAX);
      const waitMs = this.isCrowded ? (hot ? HOT_WAIT_MS : turnMs) : undefined;
      member.grant(waitMs, hot);
    }
  }

  /** Half of the slots, at most, are for those that changed a moment ago. */
  #mayBeHot = (member: Member) => member.hotUntilMs > Date.now() && this.#hot < this.#capacity / 2;

  /** When it becomes crowded, those who wait for as long as they like make room. */
  #look(): void {
    const crowded = this.isCrowded;
    if (crowded !== this.#wasCrowded) {
      this.#wasCrowded = crowded;
      if (crowded) for (const members of this.#byService.values()) for (const { revoke } of members) revoke?.abort();
      this.#crowding(crowded);
    }
    this.#grant();
  }
}

/** A watch's place among the others. */
export interface SlotMember {
  /** Waits for its turn; undefined: the watch has ended. */
  acquire(): Promise<Slot | undefined>;
  /** Gives the slot back. @param changed whether the answer was another one than before */
  release(changed: boolean): void;
  leave(): void;
}

/** Where members turn to. */
interface Desk {
  /** It waits for its turn from now on. */
  enqueue(member: Member): void;
  dequeue(member: Member): void;
  release(member: Member): void;
  leave(member: Member): void;
}

/** One watch among those that share the slots. An object with methods, rather than functions for each: there are thousands. */
class Member implements SlotMember {
  readonly service: string;
  hotUntilMs = 0;
  /** Somebody says that there is something to hear. */
  hinted = false;
  /** While it has a slot: how that is taken back, and whether it is one of those for what changed a moment ago. */
  revoke: AbortController | undefined;
  isHot = false;
  readonly #desk: Desk;
  readonly #signal: AbortSignal;
  /** The end of what it waits for. */
  #wake: ((slot: Slot | undefined) => void) | undefined;

  constructor(desk: Desk, service: string, signal: AbortSignal) {
    this.#desk = desk;
    this.service = service;
    this.#signal = signal;
  }

  acquire(): Promise<Slot | undefined> {
    return new Promise((resolve) => {
      if (this.#signal.aborted) return resolve(undefined);
      this.#wake = resolve;
      this.#desk.enqueue(this);
    });
  }

  release(changed: boolean): void {
    if (changed) this.hotUntilMs = Date.now() + HOT_MS;
    this.#desk.release(this);
  }

  leave(): void {
    this.#signal.removeEventListener("abort", this);
    this.#desk.dequeue(this);
    this.#desk.release(this);
    this.#desk.leave(this);
  }

  /** Its turn has come. */
  grant(waitMs: number | undefined, hot: boolean): void {
    this.hinted = false;
    this.isHot = hot;
    this.revoke = new AbortController();
    this.#wake?.({ waitMs, revoked: this.revoke.signal });
    this.#wake = undefined;
  }

  /** The watch's signal was aborted. */
  handleEvent(): void {
    this.#desk.dequeue(this);
    this.#wake?.(undefined);
    this.revoke?.abort();
  }
}
