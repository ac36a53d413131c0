/** Bounds of what data planes may ask for and how long they are waited for. */
export interface XdsLimits {
  /** Connections of whomever: one for each stream, and as many for reports, REST and those who say nothing. */
  readonly connectionsMax: number;
  /** Streams of all data planes together. */
  readonly streamsMax: number;
  /** Streams of one data plane: a few for separate services, and those that a broken connection leaves behind for a while. */
  readonly streamsPerNodeMax: number;
  /** Names of one type that one stream may want, or list in one request. */
  readonly namesMax: number;
  /** Of one name, in UTF-16 units. */
  readonly nameLengthMax: number;
  /** Of `node.id` and `node.cluster`, in UTF-16 units. */
  readonly nodeNameLengthMax: number;
  /** Unknown types that a stream is remembered to have asked for. */
  readonly unknownTypesMax: number;
  /** Of a request. Envoy's first one on a reconnect names all that it holds (T7). */
  readonly requestBytesMax: number;
  /** Of a message to any service but discovery: a load report of tens of thousands of clusters. */
  readonly reportBytesMax: number;
  /** Of requests that are not complete, on all streams together. */
  readonly incomingBytesMax: number;
  /** About how much goes into one response that can be split; under the 4 MiB that gRPC clients take by default (T7). */
  readonly responseBytes: number;
  /** The same of the first virtual hosts for a client that takes them one by one; it takes messages of 64 MiB. */
  readonly firstHostsBytes: number;
  /** A stream that neither accepts nor refuses a response for this long is cut (lesson 36). */
  readonly ackTimeoutMs: number;
  /** A stream that doesn't say who it is for this long is cut, and so is a connection on which no stream comes. */
  readonly firstRequestTimeoutMs: number;
  /** How long a type waits for those that must come before it (W5). */
  readonly orderTimeoutMs: number;
  /** How long a client that accepted a cluster or listener may take to ask for what belongs to it. */
  readonly followUpMs: number;
  /** How long the requests of a client that reconnects may take to come in, so that removals wait for all of its types (W6). */
  readonly reconnectMs: number;
  /** How long such a client may take to ask for its routes. */
  readonly resumeMs: number;
  /** First syncs that may begin each second, and how many at once before that counts (lesson 28). */
  readonly firstSyncsPerSecond: number;
  readonly firstSyncsBurst: number;
  /** A stream that would have to wait longer for its first sync is refused, so that its client backs off. */
  readonly firstSyncWaitMs: number;
  /** A connection that has had streams, or a request of HTTP/1.1, and has none any more, is ended after this long. */
  readonly connectionIdleMs: number;
  /** HTTP/2 pings to find dead connections (T8). */
  readonly keepaliveTimeMs: number;
  readonly keepaliveTimeoutMs: number;
}

export const defaultLimits: XdsLimits = {
  connectionsMax: 20_000,
  streamsMax: 10_000,
  streamsPerNodeMax: 32,
  namesMax: 50_000,
  nameLengthMax: 4096,
  nodeNameLengthMax: 1024,
  unknownTypesMax: 10,
  requestBytesMax: 64 * 1024 * 1024,
  reportBytesMax: 16 * 1024 * 1024,
  incomingBytesMax: 256 * 1024 * 1024,
  responseBytes: 3 * 1024 * 1024,
  firstHostsBytes: 48 * 1024 * 1024,
  ackTimeoutMs: 300_000,
  firstRequestTimeoutMs: 30_000,
  orderTimeoutMs: 5_000,
  followUpMs: 300,
  reconnectMs: 50,
  resumeMs: 500,
  firstSyncsPerSecond: 500,
  firstSyncsBurst: 1_000,
  firstSyncWaitMs: 10_000,
  connectionIdleMs: 300_000,
  keepaliveTimeMs: 30_000,
  keepaliveTimeoutMs: 10_000,
};
