/** Statistics of the data path that a test can look at. */
import {
  type AddressStats,
  addressStatNames,
  type ClusterStats,
  clusterStatNames,
  type DataPathStats,
  type ExportStats,
  type Http1Stats,
  http1StatNames,
  type Http2Stats,
  http2StatNames,
  type LimitStats,
  limitStatNames,
  type ListenerStats,
  listenerStatNames,
} from "../../proxy/listen/context.ts";

/** Counts by name: "upstream_rq_total", "upstream_rq_200", … */
export class TestStats implements DataPathStats {
  readonly values = new Map<string, number>();

  get(name: string): number {
    return this.values.get(name) ?? 0;
  }

  #metrics(names: { counters: readonly string[]; gauges: readonly string[]; histograms: readonly string[] }) {
    const add = (name: string, by: number) => this.values.set(name, this.get(name) + by);
    const all = [...names.counters, ...names.gauges, ...names.histograms];
    return Object.fromEntries(
      all.map((name) => [
        name,
        { inc: (by = 1) => add(name, by), dec: (by = 1) => add(name, -by), record: () => add(name, 1) },
      ]),
    );
  }

  listener(): ListenerStats {
    return this.#metrics(listenerStatNames) as unknown as ListenerStats;
  }

  address(): AddressStats {
    // Their names are those of the connection managers, too; the sums would be of both.
    const { counters, gauges, histograms } = addressStatNames;
    const own = (names: readonly string[]) => names.map((name) => `listener.${name}`);
    const stats = this.#metrics({ counters: own(counters), gauges: own(gauges), histograms: own(histograms) });
    return Object.fromEntries(
      Object.entries(stats).map(([name, stat]) => [name.slice("listener.".length), stat]),
    ) as unknown as AddressStats;
  }

  connectionLimit(): LimitStats {
    return this.#metrics(limitStatNames) as unknown as LimitStats;
  }

  http1(): Http1Stats {
    return this.#codec("http1", http1StatNames) as unknown as Http1Stats;
  }

  http2(): Http2Stats {
    return this.#codec("http2", http2StatNames) as unknown as Http2Stats;
  }

  forgetCluster(): void {}

  /** Names of the codecs are those of others, too. */
  #codec(prefix: string, { counters, gauges }: typeof http1StatNames | typeof http2StatNames) {
    const own = (names: readonly string[]) => names.map((name) => `${prefix}.${name}`);
    const stats = this.#metrics({ counters: own(counters), gauges: own(gauges), histograms: [] });
    return Object.fromEntries(Object.entries(stats).map(([name, stat]) => [name.slice(prefix.length + 1), stat]));
  }

  exported() {
    return this.#metrics({ counters: ["sent", "dropped"], gauges: [], histograms: [] }) as unknown as ExportStats;
  }

  cluster(): ClusterStats {
    return {
      ...this.#metrics(clusterStatNames),
      status: (status: number) => this.values.set(`upstream_rq_${status}`, this.get(`upstream_rq_${status}`) + 1),
      statusOf: (kind: string, status: number) => {
        const name = `${kind}.upstream_rq_${status}`;
        this.values.set(name, this.get(name) + 1);
      },
      timeOf: () => {},
      http2: () => this.#codec("cluster.http2", http2StatNames),
    } as unknown as ClusterStats;
  }
}
