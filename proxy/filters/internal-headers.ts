/** Fields of Envoy's own that tell a gateway what to do; who may send them, Envoy decides in mutateRequestHeaders and cleanInternalHeaders. */

/** Nobody may say these to us, and what Envoy's router obeys and takes out, ours takes out without obeying: no timeout or retry comes from a request. */
const NOBODY = [
  "x-envoy-internal",
  "x-envoy-hedge-on-per-try-timeout",
  "x-envoy-max-retries",
  "x-envoy-retriable-header-names",
  "x-envoy-retriable-status-codes",
  "x-envoy-retry-grpc-on",
  "x-envoy-retry-on",
  "x-envoy-upstream-alt-stat-name",
  "x-envoy-upstream-rq-per-try-timeout-ms",
  "x-envoy-upstream-rq-timeout-alt-response",
  "x-envoy-upstream-rq-timeout-ms",
];

/** Only an internal request may bring these. */
const INTERNAL = [
  "x-envoy-attempt-count",
  "x-envoy-expected-rq-timeout-ms",
  "x-envoy-force-trace",
  "x-envoy-ip-tags",
  "x-envoy-is-timeout-retry",
  "x-envoy-original-url",
  "x-envoy-upstream-stream-duration-ms",
];

/** These may also come from a trusted proxy, that is, where use_remote_address is off. */
const EDGE = [
  "x-envoy-decorator-operation",
  "x-envoy-downstream-service-cluster",
  "x-envoy-downstream-service-node",
  "x-envoy-external-address",
  "x-envoy-original-host",
  "x-envoy-original-path",
];

/** What is taken out of an internal request, of one that comes by a trusted proxy, and of a client's own. */
export const cleaned = {
  internal: new Set(NOBODY),
  trusted: new Set([...NOBODY, ...INTERNAL]),
  edge: new Set([...NOBODY, ...INTERNAL, ...EDGE]),
} as const;
