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
  scopeKey,
  scopeLayouts,
  type StatsBlock,
  type StatsMessage,
} from "./stats-layout.ts";
import { StatsMemory } from "./stats-memory.ts";

type Scope = ListenerStats | ClusterStats | AddressStats | LimitStats | ExportStats | Http1Stats | Http2Stats;

/** A scope, and whether it still is one: what is first counted of one that is gone is told to nobody. */
interface Known {
  readonly stats: Scope;
  readonly life: Life;
}

interface Life {
  isOver: boolean;
}

/**
 * A worker's statistics, in memory that the main thread reads while the worker counts. Only the worker writes, so counting is a plain
 * addition. Who counts keeps the objects; the memory of a cluster that is gone is used again once nobody does any more.
 */
export class StatsStore implements DataPathStats {
  readonly #publish: (message: StatsMessage) => void;
  readonly #scopes = new Map<string, Known>();
  readonly #memory = new StatsMemory((segment) => {
    this.#newSegments.push(segment);
    this.#announce();
  });
  #newSegments: SharedArrayBuffer[] = [];
  #newBlocks: StatsBlock[] = [];
  #gone = new Set<string>();
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
    return this.#scope("cluster", name, (stats, life) => {
      const byStatus: (Counter | undefined)[] = [];
      const status = (code: number) => {
        if (code < 100 || code > 999) return;
        (byStatus[code] ??= this.#counter({ scope: "cluster", name, counter: `upstream_rq_${code}` }, life)).inc();
      };
      let http2Stats: Http2Stats | undefined;
      // Of its own: a cluster of the same name that comes after it has others.
      const http2 = () =>
        (http2Stats ??= life.isOver
          ? ({ ...this.#fields({ scope: "http2", name }, life) } as unknown as Http2Stats)
          : this.http2(name));
      return { ...stats, status, ...this.#byKind(name, life), http2 } as unknown as ClusterStats;
    });
  }

  forgetCluster(name: string): void {
    for (const scope of ["cluster", "http2"] as const) {
      const key = scopeKey({ scope, name });
      const known = this.#scopes.get(key);
      if (known === undefined) continue;
      known.life.isOver = true;
      this.#scopes.delete(key);
      this.#newBlocks = this.#newBlocks.filter((block) => scopeKey(block) !== key);
      this.#gone.add(key);
      this.#announce();
    }
  }

  /** Few clusters have such requests, so that the memory for them is taken with the first. */
  #byKind(name: string, life: Life): Pick<ClusterStats, "statusOf" | "timeOf"> {
    const counters = new Map<string, Counter>();
    const times: Partial<Record<RequestKind, Histogram>> = {};
    const count = (stat: string) => {
      let counter = counters.get(stat);
      if (counter === undefined)
        counters.set(stat, (counter = this.#counter({ scope: "cluster", name, counter: stat }, life)));
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
        (times[kind] ??= this.#histogram(
          { scope: "cluster", name, histogram: `${kind}.upstream_rq_time` },
          life,
        )).record(timeMs),
    };
  }

  #scope<Stats extends Scope>(scope: ScopeKind, name: string, make: (stats: Fields, life: Life) => Stats): Stats {
    const key = scopeKey({ scope, name });
    const known = this.#scopes.get(key);
    if (known !== undefined) return known.stats as Stats;
    const life = { isOver: false };
    const stats = make(this.#fields({ scope, name }, life), life);
    this.#scopes.set(key, { stats, life });
    return stats;
  }

  #fields(block: Pick<StatsBlock, "scope" | "name">, life: Life): Fields {
    const { counters, gauges, histograms, slots } = scopeLayouts[block.scope];
    const memory = this.#allocate(block, slots, life);
    const stats: Fields = {};
    let slot = 0;
    for (const counter of counters) stats[counter] = new SharedCounter(memory, slot++);
    for (const gauge of gauges) stats[gauge] = new SharedCounter(memory, slot++);
    for (const histogram of histograms) {
      stats[histogram] = new SharedHistogram(memory, slot);
      slot += HISTOGRAM_SLOTS;
    }
    return stats;
  }

  #counter(block: Pick<StatsBlock, "scope" | "name" | "counter">, life: Life): Counter {
    return new SharedCounter(this.#allocate(block, 1, life), 0);
  }

  #histogram(block: Pick<StatsBlock, "scope" | "name" | "histogram">, life: Life): Histogram {
    return new SharedHistogram(this.#allocate(block, HISTOGRAM_SLOTS, life), 0);
  }

  #allocate(
    block: Pick<StatsBlock, "scope" | "name" | "counter" | "histogram">,
    slots: number,
    life: Life,
  ): Float64Array {
    const place = life.isOver ? undefined : this.#memory.take(slots);
    if (place === undefined) return new Float64Array(slots);
    this.#newBlocks.push({ ...block, segment: place.segment, offset: place.offset });
    this.#announce();
    return place.memory;
  }

  #announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    queueMicrotask(() => {
      this.#announced = false;
      this.#publish({ kind: "stats", segments: this.#newSegments, gone: [...this.#gone], blocks: this.#newBlocks });
      this.#newSegments = [];
      this.#newBlocks = [];
      this.#gone = new Set();
    });
  }
}

type Fields = Record<string, Counter | Gauge | Histogram>;

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
