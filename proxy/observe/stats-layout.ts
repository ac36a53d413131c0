import {
  addressStatNames,
  clusterStatNames,
  http1StatNames,
  http2StatNames,
  limitStatNames,
  listenerStatNames,
} from "../listen/context.ts";

/**
 * What statistics belong to: an HttpConnectionManager (by stat prefix), a cluster, an address that is listened
 * on, a connection_limit filter, or a kind of collector. Envoy's names begin with this word. "http1": the HTTP/1 codec of all clients, whose
 * name is "". "http2": the HTTP/2 codec of a cluster, by its name, or of all clients, by "".
 */
export type ScopeKind =
  | "http"
  | "http1"
  | "http2"
  | "cluster"
  | "listener"
  | "connection_limit"
  | "access_logs"
  | "tracing";

/** Upper bounds of a histogram's buckets in ms: Envoy's default; what is above the last is in one more. */
export const histogramBoundsMs = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
] as const;

/** Slots of a histogram: its buckets, the one above, and the sum of all values. */
export const HISTOGRAM_SLOTS = histogramBoundsMs.length + 2;

/** Where the statistics of a scope stand, from the scope's first slot. A slot is one 64-bit float. */
export interface ScopeLayout {
  readonly counters: readonly string[];
  readonly gauges: readonly string[];
  readonly histograms: readonly string[];
  readonly slots: number;
  /** Envoy's tag for what the scope is named after; "": its name is a part of the metric's. */
  readonly tag: string;
}

const layout = (names: Pick<ScopeLayout, "counters" | "gauges" | "histograms">, tag: string): ScopeLayout => ({
  ...names,
  slots: names.counters.length + names.gauges.length + names.histograms.length * HISTOGRAM_SLOTS,
  tag,
});

/** The layouts, which both ends know, so that only a scope's name and place need to be told. */
export const scopeLayouts: Readonly<Record<ScopeKind, ScopeLayout>> = {
  http: layout(listenerStatNames, "envoy_http_conn_manager_prefix"),
  http1: layout(http1StatNames, ""),
  http2: layout(http2StatNames, "envoy_cluster_name"),
  cluster: layout(clusterStatNames, "envoy_cluster_name"),
  listener: layout(addressStatNames, "envoy_listener_address"),
  connection_limit: layout(limitStatNames, "envoy_connection_limit_prefix"),
  access_logs: layout({ counters: ["logs_written", "logs_dropped"], gauges: [], histograms: [] }, ""),
  tracing: layout({ counters: ["spans_sent", "spans_dropped"], gauges: [], histograms: [] }, ""),
};

/** A scope, or a single counter of one, and its place in shared memory. */
export interface StatsBlock {
  readonly scope: ScopeKind;
  readonly name: string;
  /** A counter outside of the layout, such as upstream_rq_200. */
  readonly counter?: string;
  /** A histogram outside of the layout. */
  readonly histogram?: string;
  readonly segment: number;
  readonly offset: number;
}

/** What tells scopes apart. */
export const scopeKey = ({ scope, name }: Pick<StatsBlock, "scope" | "name">): string => `${scope}.${name}`;

/** From a worker to the main thread: memory and names that are new, and scopes of which nothing is left. */
export interface StatsMessage {
  readonly kind: "stats";
  /** Keys of scopes that are gone; what is among the blocks of the same message has come after that. */
  readonly gone: readonly string[];
  /** Segments in order, those told of before left out. */
  readonly segments: readonly SharedArrayBuffer[];
  readonly blocks: readonly StatsBlock[];
}
