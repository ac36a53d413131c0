/** Slots of a segment, and segments of a worker: 32 MiB at most, some 40,000 clusters at a time. Beyond that nothing is counted. */
const SEGMENT_SLOTS = 16 * 1024;
const SEGMENTS_MAX = 256;

/** Where slots are. */
interface Place {
  readonly segment: number;
  readonly offset: number;
  readonly slots: number;
}

/** Slots that were taken: all of them zero. */
export interface TakenSlots extends Place {
  /** Just these slots. Who holds this may write to it, and nobody else has them meanwhile. */
  readonly memory: Float64Array;
}

/**
 * Memory that another thread reads, in slots of one 64-bit float. It is nobody's business to give slots back: they are used again when what
 * was handed out for them is no longer held by anybody, be it a connection that outlives its cluster by an hour.
 */
export class StatsMemory {
  readonly #onSegment: (segment: SharedArrayBuffer) => void;
  readonly #segments: Float64Array[] = [];
  /** Of the last segment. */
  #used = SEGMENT_SLOTS;
  /** Places that are free again, by their number of slots: there are few such numbers. */
  readonly #free = new Map<number, Place[]>();
  readonly #unheld = new FinalizationRegistry<Place>((place) => this.#giveBack(place));

  /** `onSegment` is told of each segment, in order. */
  constructor(onSegment: (segment: SharedArrayBuffer) => void) {
    this.#onSegment = onSegment;
  }

  /** Takes slots that lie side by side, at most a segment of them; undefined: there is no room. */
  take(slots: number): TakenSlots | undefined {
    const place = this.#free.get(slots)?.pop() ?? this.#extend(slots);
    const memory = place && this.#segments[place.segment]?.subarray(place.offset, place.offset + slots);
    if (place === undefined || memory === undefined) return undefined;
    this.#unheld.register(memory, place);
    return { ...place, memory };
  }

  #extend(slots: number): Place | undefined {
    if (this.#used + slots > SEGMENT_SLOTS) {
      if (this.#segments.length === SEGMENTS_MAX) return undefined;
      const buffer = new SharedArrayBuffer(SEGMENT_SLOTS * Float64Array.BYTES_PER_ELEMENT);
      this.#segments.push(new Float64Array(buffer));
      this.#used = 0;
      this.#onSegment(buffer);
    }
    const offset = this.#used;
    this.#used += slots;
    return { segment: this.#segments.length - 1, offset, slots };
  }

  #giveBack(place: Place): void {
    this.#segments[place.segment]?.fill(0, place.offset, place.offset + place.slots);
    const ofSize = this.#free.get(place.slots);
    if (ofSize === undefined) this.#free.set(place.slots, [place]);
    else ofSize.push(place);
  }
}
