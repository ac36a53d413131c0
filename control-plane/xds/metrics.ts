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
  const counters = {
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
    connectionsIdle: registry.counter({
      name: "sluice_xds_connections_idle_total",
      help: "HTTP/2 connections that were ended since there was no stream on them.",
    }),
    callsFailed: registry.counter({
      name: "sluice_xds_calls_failed_total",
      help: "Calls of any service of the xDS port that ended with an error of the server, by gRPC status; the service is empty where there is no such method.",
      labels: ["service", "code"],
    }),
    streamsCut: registry.counter({
      name: "sluice_xds_streams_cut_total",
      help: "Streams that the server ended, by gRPC status.",
      labels: ["code"],
    }),
  };
  const { pushes, pushedBytes, queueSeconds, acks, answerSeconds } = counters;
  return {
    ...counters,
    /** What counts a response of a type. */
    sent: byType((type) => ({
      pushes: pushes.cell(type),
      pushedBytes: pushedBytes.cell(type),
      queueSeconds: queueSeconds.cell(type),
    })),
    /** What counts acceptances of a type. */
    acceptances: byType((type) => acks.cell(type)),
    /** What counts how long answers of a type take. */
    answers: byType((type) => answerSeconds.cell(type)),
  };
}

/** Makes something once for each type. */
function byType<Cells>(make: (type: string) => Cells): (type: string) => Cells {
  const made = new Map<string, Cells>();
  return (type) => {
    let cells = made.get(type);
    if (cells === undefined) made.set(type, (cells = make(type)));
    return cells;
  };
}
