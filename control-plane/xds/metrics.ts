import type { MetricsRegistry } from "../observe/metrics.ts";
import type { NodeRegistry } from "./status.ts";

/** What the streams count. The label `type` is CDS, EDS, LDS or RDS. */
export type XdsMetrics = ReturnType<typeof registerXdsMetrics>;

/**
 * Adds the xDS server's metrics to the control plane's.
 *
 * @param streams how many streams are open
 */
export function registerXdsMetrics(registry: MetricsRegistry, nodes: NodeRegistry, streams: () => number) {
  const types = ["type"];
  registry.observe({ name: "sluice_xds_streams", help: "Open xDS streams." }, "gauge", streams);
  registry.observe({ name: "sluice_xds_nodes", help: "Connected data planes." }, "gauge", () => nodes.connectedNodes);
  return {
    pushes: registry.counter({ name: "sluice_xds_pushes_total", help: "Responses sent.", labels: types }),
    pushedBytes: registry.counter({
      name: "sluice_xds_pushed_bytes_total",
      help: "Bytes of responses.",
      labels: types,
    }),
    acks: registry.counter({ name: "sluice_xds_acks_total", help: "Responses accepted.", labels: types }),
    nacks: registry.counter({ name: "sluice_xds_nacks_total", help: "Responses refused.", labels: types }),
    answerSeconds: registry.histogram({
      name: "sluice_xds_answer_seconds",
      help: "From a response to its acceptance or refusal.",
      labels: types,
    }),
    queueSeconds: registry.histogram({
      name: "sluice_xds_queue_seconds",
      help: "From a change, or a request, to the response that holds it: waiting for acceptances, for order and for slow readers.",
      labels: types,
    }),
    unknownTypes: registry.counter({
      name: "sluice_xds_unknown_type_requests_total",
      help: "Requests for resource types that are not served.",
    }),
    connectionsRefused: registry.counter({
      name: "sluice_xds_connections_refused_total",
      help: "Connections that were closed as they came, since there were too many.",
    }),
    streamsCut: registry.counter({
      name: "sluice_xds_streams_cut_total",
      help: "Streams that the server ended, by gRPC status.",
      labels: ["code"],
    }),
  };
}
