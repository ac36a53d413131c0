import { durationMs } from "@bufbuild/protobuf/wkt";

import type { Locality } from "#envoy/config/core/v3/base_pb.ts";
import type { ClusterStats, UpstreamLocalityStats } from "#envoy/config/endpoint/v3/load_report_pb.ts";

import type { MetricsRegistry } from "../observe/metrics.ts";

/** The load of one cluster in one locality, over all data planes. */
export interface Load {
  readonly gatewayGroup: string;
  readonly cluster: string;
  /** "REGION/ZONE/SUB-ZONE", without what is empty at the end; empty where endpoints have no locality. */
  readonly locality: string;
  /** Since this control plane started: requests that were begun, that ended well, that failed, and that were dropped on purpose. */
  issued: number;
  successful: number;
  failed: number;
  dropped: number;
  /** By the newest reports of the data planes that are connected. */
  inProgress: number;
  requestsPerSecond: number;
  /** When the newest report came, in milliseconds since the epoch. */
  reportTimeMs: number;
}

/** What a stream's newest report adds to the numbers of now. */
interface Share {
  readonly load: Load;
  readonly inProgress: number;
  readonly requestsPerSecond: number;
}

/** The shares of one stream. */
export type Shares = Share[];

/** Clusters that are kept apart, of those that exist; what comes after is added up as one. */
const CLUSTERS_MAX = 50_000;
/** Localities of one cluster that are kept apart, and of all clusters beyond the first of each; what comes after is added up as one for each cluster. */
const LOCALITIES_MAX = 64;
const FURTHER_LOCALITIES_MAX = 10_000;
const OTHER = "other";

/** A cluster that is gone is told of for so long after its last report, and it is looked for such clusters so often. */
const GONE_KEPT_MS = 600_000;
const LOOK_INTERVAL_MS = 60_000;

/** Whether a gateway group has a cluster now. */
export type HasCluster = (gatewayGroup: string, cluster: string) => boolean;

/** What data planes report of the load that they send to clusters (L1). Numbers are sums; a stream's part of "now" goes with the stream. */
export class Loads {
  readonly #loads = new Map<string, Load>();
  /** How many localities each cluster has, by gateway group and cluster. */
  readonly #localities = new Map<string, number>();
  readonly #has: HasCluster;
  readonly #now: () => number;
  readonly #count: ReturnType<typeof counters>;
  #lookedMs: number;

  /** @param has asked for what was reported once: clusters that are gone would take the room of those that come after them */
  constructor(metrics: MetricsRegistry, has: HasCluster, now: () => number = Date.now) {
    this.#has = has;
    this.#now = now;
    this.#lookedMs = now();
    this.#count = counters(metrics);
    const labels = ["gateway_group", "cluster", "locality"];
    const each = (read: (load: Load) => number) => () =>
      this.list().map((load) => ({ labels: labelsOf(load), value: read(load) }));
    metrics.observeEach(
      { name: "sluice_load_requests_in_progress", help: "Requests under way, as data planes last reported.", labels },
      each(({ inProgress }) => inProgress),
    );
  }

  /** By gateway group, cluster and locality. */
  list(): Load[] {
    this.#forgetGone();
    return [...this.#loads.values()].sort(
      (a, b) =>
        compare(a.gatewayGroup, b.gatewayGroup) || compare(a.cluster, b.cluster) || compare(a.locality, b.locality),
    );
  }

  /**
   * Takes the report of one stream.
   *
   * @param shares those of the stream's report before; they are replaced
   * @param clusters those of the gateway group, undefined: there is no such group; what isn't there is added up as one for each group, so that nobody can
   *   fill the memory, or the room of others
   */
  report(
    gatewayGroup: string,
    stats: readonly ClusterStats[],
    shares: Shares,
    clusters: { has(cluster: string): boolean } | undefined,
  ): void {
    this.withdraw(shares);
    this.#forgetGone();
    for (const each of stats) {
      const known = clusters?.has(each.clusterName) === true;
      const group = clusters === undefined ? OTHER : gatewayGroup;
      const cluster = known ? each.clusterName : OTHER;
      const intervalMs = each.loadReportInterval === undefined ? 0 : durationMs(each.loadReportInterval);
      for (const locality of each.upstreamLocalityStats) {
        shares.push(
          this.#add(this.#load(group, cluster, known ? textOf(locality.locality) : ""), locality, intervalMs),
        );
      }
      const dropped = toNumber(each.totalDroppedRequests);
      if (dropped === 0) continue;
      const load = this.#load(group, cluster, "");
      load.dropped += dropped;
      this.#count.dropped.add(dropped, load.gatewayGroup, load.cluster);
    }
  }

  /** Takes a stream's part of "now" away. */
  withdraw(shares: Shares): void {
    for (const { load, inProgress, requestsPerSecond } of shares.splice(0)) {
      load.inProgress -= inProgress;
      // Sums of fractions don't come back to nothing by themselves.
      load.requestsPerSecond = Math.max(0, Math.round((load.requestsPerSecond - requestsPerSecond) * 1e6) / 1e6);
    }
  }

  #forgetGone(): void {
    const nowMs = this.#now();
    if (nowMs - this.#lookedMs < LOOK_INTERVAL_MS) return;
    this.#lookedMs = nowMs;
    for (const [key, load] of this.#loads) {
      const { gatewayGroup, cluster, reportTimeMs } = load;
      if (cluster === OTHER || nowMs - reportTimeMs < GONE_KEPT_MS || this.#has(gatewayGroup, cluster)) continue;
      this.#loads.delete(key);
      const ofCluster = `${gatewayGroup}\0${cluster}`;
      const others = (this.#localities.get(ofCluster) ?? 0) - 1;
      if (others > 0) this.#localities.set(ofCluster, others);
      else this.#localities.delete(ofCluster);
      const labels = labelsOf(load);
      this.#count.requests.forget(...labels);
      for (const outcome of ["success", "error"]) this.#count.results.forget(...labels, outcome);
      this.#count.dropped.forget(gatewayGroup, cluster);
    }
  }

  #add(load: Load, stats: UpstreamLocalityStats, intervalMs: number): Share {
    const [issued, successful, failed] = [
      toNumber(stats.totalIssuedRequests),
      toNumber(stats.totalSuccessfulRequests),
      toNumber(stats.totalErrorRequests),
    ];
    load.issued += issued;
    load.successful += successful;
    load.failed += failed;
    load.reportTimeMs = this.#now();
    this.#count.requests.add(issued, ...labelsOf(load));
    this.#count.results.add(successful, ...labelsOf(load), "success");
    this.#count.results.add(failed, ...labelsOf(load), "error");
    const inProgress = toNumber(stats.totalRequestsInProgress);
    const requestsPerSecond = intervalMs > 0 ? (issued * 1000) / intervalMs : 0;
    load.inProgress += inProgress;
    load.requestsPerSecond += requestsPerSecond;
    return { load, inProgress, requestsPerSecond };
  }

  #load(gatewayGroup: string, cluster: string, locality: string): Load {
    const key = `${gatewayGroup}\0${cluster}\0${locality}`;
    const known = this.#loads.get(key);
    if (known !== undefined) return known;
    const ofCluster = `${gatewayGroup}\0${cluster}`;
    const localities = this.#localities.get(ofCluster) ?? 0;
    if (localities === 0) {
      if (cluster !== OTHER && this.#localities.size >= CLUSTERS_MAX) return this.#load(OTHER, OTHER, "");
    } else if (locality !== OTHER) {
      const further = this.#loads.size - this.#localities.size;
      if (localities >= LOCALITIES_MAX || further >= FURTHER_LOCALITIES_MAX)
        return this.#load(gatewayGroup, cluster, OTHER);
    }
    const now = { inProgress: 0, requestsPerSecond: 0, reportTimeMs: this.#now() };
    const load = { gatewayGroup, cluster, locality, issued: 0, successful: 0, failed: 0, dropped: 0, ...now };
    this.#loads.set(key, load);
    this.#localities.set(ofCluster, localities + 1);
    return load;
  }
}

function counters(metrics: MetricsRegistry) {
  const labels = ["gateway_group", "cluster", "locality"];
  return {
    requests: metrics.counter({
      name: "sluice_load_requests_total",
      help: "Requests that data planes report to have begun.",
      labels,
    }),
    results: metrics.counter({
      name: "sluice_load_results_total",
      help: "Requests that data planes report to have ended, by outcome: success or error.",
      labels: [...labels, "outcome"],
    }),
    dropped: metrics.counter({
      name: "sluice_load_dropped_total",
      help: "Requests that data planes report to have dropped on purpose.",
      labels: ["gateway_group", "cluster"],
    }),
  };
}

const labelsOf = ({ gatewayGroup, cluster, locality }: Load) => [gatewayGroup, cluster, locality];

const NAME_LENGTH_MAX = 100;

const textOf = (locality: Locality | undefined): string =>
  [locality?.region, locality?.zone, locality?.subZone]
    .map((name) => (name ?? "").replaceAll("\0", "").slice(0, NAME_LENGTH_MAX))
    .join("/")
    .replace(/\/+$/, "");

/** A client's number, which may be as large as it likes: sums must stay numbers that can be shown. */
const toNumber = (value: bigint): number => Number(value > 1_000_000_000_000n ? 1_000_000_000_000n : value);

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
