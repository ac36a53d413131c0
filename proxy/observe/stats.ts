import type {
  AddressStats,
  ClusterStats,
  Counter,
  DataPathStats,
  ExportStats,
  Gauge,
  Histogram,
  Http1Stats,
  Http2Stats,
  LimitStats,
  ListenerStats,
  RequestKind,
} from "../listen/context.ts";
import {
  HISTOGRAM_SLOTS,
  histogramBoundsMs,
  type ScopeKind,
  scopeLayouts,
  type StatsBlock,
  type StatsMessage,
} from "./stats-layout.ts";

type Scope = ListenerStats | ClusterStats | AddressStats | LimitStats | ExportStats | Http1Stats | Http2Stats;

/** Slots of a segment, and segments of a worker: 32 MiB at most, some 40,000 clusters. Beyond that nothing is counted. */
const SEGMENT_SLOTS = 16 * 1024;
const SEGMENTS_MAX = 256;

/**
 * A worker's statistics, in memory that the main thread reads while the worker counts. Only the worker writes, so counting is a plain
 * addition. Memory is never given back: who counts keeps the objects.
 */
export class StatsStore implements DataPathStats {
  readonly #publish: (message: StatsMessage) => void;
  readonly #scopes = new Map<string, Scope>();
  #segment: Float64Array = new Float64Array(0);
  #segments = 0;
  #used = 0;
  #newSegments: SharedArrayBuffer[] = [];
  #newBlocks: StatsBlock[] = [];
  #announced = false;

  /** `publish` sends a message to the main thread; it is called soon after there is something new, for all of it at once. */
  constructor(publish: (message: StatsMessage) => void) {
    this.#publish = publish;
  }

  listener(statPrefix: string): ListenerStats {
    // A copy, since an object that was filled name by name is a dictionary to V8, and looking into it slow for good.
    return this.#scope("http", statPrefix, (stats) => ({ ...stats }) as unknown as ListenerStats);
  }

  address(address: string): AddressStats {
    return this.#scope("listener", address, (stats) => ({ ...stats }) as unknown as AddressStats);
  }

  connectionLimit(statPrefix: string): LimitStats {
    return this.#scope("connection_limit", statPrefix, (stats) => ({ ...stats }) as unknown as LimitStats);
  }

  http1(): Http1Stats {
    return this.#scope("http1", "", (stats) => ({ ...stats }) as unknown as Http1Stats);
  }

  /** `cluster`: its name; undefined: of clients. */
  http2(cluster = ""): Http2Stats {
    return this.#scope("http2", cluster, (stats) => ({ ...stats }) as unknown as Http2Stats);
  }

  exported(kind: "access_logs" | "tracing", name: string): ExportStats {
    return this.#scope(kind, name, (stats) => {
      const [sent, dropped] = Object.values(stats) as [Counter, Counter];
      return { sent, dropped };
    });
  }

  cluster(name: string): ClusterStats {
    return this.#scope("cluster", name, (stats) => {
      const byStatus: (Counter | undefined)[] = [];
      const status = (code: number) => {
        if (code < 100 || code > 999) return;
        (byStatus[code] ??= this.#counter("cluster", name, `upstream_rq_${code}`)).inc();
      };
      const http2 = () => this.http2(name);
      return { ...stats, status, ...this.#byKind(name), http2 } as unknown as ClusterStats;
    });
  }

  /** Few clusters have such requests, so that the memory for them is taken with the first. */
  #byKind(name: string): Pick<ClusterStats, "statusOf" | "timeOf"> {
    const counters = new Map<string, Counter>();
    const times: Partial<Record<RequestKind, Histogram>> = {};
    const count = (stat: string) => {
      let counter = counters.get(stat);
      if (counter === undefined) counters.set(stat, (counter = this.#counter("cluster", name, stat)));
      counter.inc();
    };
    return {
      statusOf(kind, code) {
        if (code < 100 || code > 599) return;
        count(`${kind}.upstream_rq_completed`);
        count(`${kind}.upstream_rq_${Math.floor(code / 100)}xx`);
        count(`${kind}.upstream_rq_${code}`);
      },
      timeOf: (kind, timeMs) =>
        (times[kind] ??= this.#histogram("cluster", name, `${kind}.upstream_rq_time`)).record(timeMs),
    };
  }

  #scope<Stats extends Scope>(
    scope: ScopeKind,
    name: string,
    make: (stats: Record<string, Counter | Gauge | Histogram>) => Stats,
  ): Stats {
    const key = `${scope}.${name}`;
    const known = this.#scopes.get(key);
    if (known !== undefined) return known as Stats;
    const { counters, gauges, histograms, slots } = scopeLayouts[scope];
    let { memory, offset } = this.#allocate({ scope, name }, slots);
    const stats: Record<string, Counter | Gauge | Histogram> = {};
    for (const counter of counters) stats[counter] = new SharedCounter(memory, offset++);
    for (const gauge of gauges) stats[gauge] = new SharedCounter(memory, offset++);
    for (const histogram of histograms) {
      stats[histogram] = new SharedHistogram(memory, offset);
      offset += HISTOGRAM_SLOTS;
    }
    const made = make(stats);
    this.#scopes.set(key, made);
    return made;
  }

  #counter(scope: ScopeKind, name: string, counter: string): Counter {
    const { memory, offset } = this.#allocate({ scope, name, counter }, 1);
    return new SharedCounter(memory, offset);
  }

  #histogram(scope: ScopeKind, name: string, histogram: string): Histogram {
    const { memory, offset } = this.#allocate({ scope, name, histogram }, HISTOGRAM_SLOTS);
    return new SharedHistogram(memory, offset);
  }

  #allocate(
    block: Pick<StatsBlock, "scope" | "name" | "counter" | "histogram">,
    slots: number,
  ): { memory: Float64Array; offset: number } {
    if (this.#used + slots > this.#segment.length) {
      if (this.#segments === SEGMENTS_MAX) return { memory: new Float64Array(slots), offset: 0 };
      const buffer = new SharedArrayBuffer(SEGMENT_SLOTS * Float64Array.BYTES_PER_ELEMENT);
      this.#segment = new Float64Array(buffer);
      this.#segments++;
      this.#used = 0;
      this.#newSegments.push(buffer);
    }
    const offset = this.#used;
    this.#used += slots;
    this.#newBlocks.push({ ...block, segment: this.#segments - 1, offset });
    this.#announce();
    return { memory: this.#segment, offset };
  }

  #announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    queueMicrotask(() => {
      this.#announced = false;
      this.#publish({ kind: "stats", segments: this.#newSegments, blocks: this.#newBlocks });
      this.#newSegments = [];
      this.#newBlocks = [];
    });
  }
}

/** A counter or a gauge: one slot. */
class SharedCounter implements Counter, Gauge {
  readonly #memory: Float64Array;
  readonly #slot: number;

  constructor(memory: Float64Array, slot: number) {
    this.#memory = memory;
    this.#slot = slot;
  }

  inc(by = 1): void {
    this.#memory[this.#slot] = (this.#memory[this.#slot] as number) + by;
  }

  dec(by = 1): void {
    this.inc(-by);
  }
}

class SharedHistogram implements Histogram {
  readonly #memory: Float64Array;
  readonly #slot: number;

  constructor(memory: Float64Array, slot: number) {
    this.#memory = memory;
    this.#slot = slot;
  }

  record(valueMs: number): void {
    // Most values are in the first few buckets.
    let bucket = 0;
    while (bucket < histogramBoundsMs.length && valueMs > (histogramBoundsMs[bucket] as number)) bucket++;
    const memory = this.#memory;
    const sum = this.#slot + HISTOGRAM_SLOTS - 1;
    memory[this.#slot + bucket] = (memory[this.#slot + bucket] as number) + 1;
    memory[sum] = (memory[sum] as number) + valueMs;
  }
}
