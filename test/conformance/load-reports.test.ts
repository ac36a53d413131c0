/** The load reporting service (LRS): who is asked for what, and what becomes of the answers. */
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import { LoadReportingService } from "#envoy/service/load_stats/v3/lrs_pb.ts";
import { LoadService } from "#sluice/admin/v1/load_service_pb.ts";

import { authorized } from "../support/control-plane.ts";
import { ask } from "../support/http.ts";
import { PortStream } from "../support/port-client.ts";
import { waitFor } from "../support/wait.ts";
import { clusterOf, reason, type Running, service, startRunning } from "./running.ts";

let running: Running;
beforeAll(async () => {
  running = await startRunning(["a", "b"], { loadReportIntervalMs: 1_000 });
});
afterAll(() => running[Symbol.asyncDispose]());

const open = () => new PortStream(running.plane.xdsAddress, LoadReportingService.method.streamLoadStats);
const clientFeatures = ["envoy.lrs.supports_send_all_clusters"];

function admin() {
  const { url: baseUrl } = running.plane;
  return createClient(LoadService, createConnectTransport({ baseUrl, httpVersion: "2", interceptors: [authorized()] }));
}

test("L1 a client that can is asked for all clusters, once, with an interval", async () => {
  const stream = open();
  stream.send({ node: { id: "all", cluster: "default", clientFeatures } });
  await stream.until(() => stream.responses.length > 0);
  expect(stream.responses[0]).toMatchObject({
    sendAllClusters: true,
    clusters: [],
    loadReportingInterval: { seconds: 1n },
    reportEndpointGranularity: false,
  });
  stream.send({});
  stream.halfClose();
  expect(await stream.end()).toBe("ok");
  expect(stream.responses).toHaveLength(1);
});

test("L1 any other is named them, no cluster first (some lose the first of the list), and again when they change", async () => {
  const stream = open();
  stream.send({ node: { id: "named", cluster: "default" } });
  await stream.until(() => stream.responses.length > 0);
  const [a, b, c] = ["a", "b", "c"].map(clusterOf);
  expect(stream.responses[0]).toMatchObject({ sendAllClusters: false, clusters: ["", a, b] });
  await running.apply([service("a", 9)]);
  await running.apply([service("c")]);
  await stream.until(() => stream.responses.length > 1);
  expect(stream.responses[1]?.clusters).toEqual(["", a, b, c]);
  stream.close();
});

test("L1 reports add up in the admin API and in metrics; what is going on leaves with the stream; made-up names are one", async () => {
  const stream = open();
  stream.send({ node: { id: "busy", cluster: "default", clientFeatures } });
  await stream.until(() => stream.responses.length > 0);
  const locality = { region: "r", zone: "z" };
  const stats = (clusterName: string, issued: bigint) => ({
    clusterName,
    loadReportInterval: { seconds: 2n },
    totalDroppedRequests: 3n,
    upstreamLocalityStats: [
      {
        locality,
        totalIssuedRequests: issued,
        totalSuccessfulRequests: issued - 2n,
        totalErrorRequests: 1n,
        totalRequestsInProgress: 1n,
      },
    ],
  });
  stream.send({ clusterStats: [stats(clusterOf("a"), 10n)] });
  stream.send({ clusterStats: [stats(clusterOf("a"), 30n), stats("made-up-1", 2n), stats("made-up-2", 2n)] });
  const loads = await waitFor("the loads", async () => {
    const found = (await admin().listLoads({})).loads;
    expect(found).toHaveLength(3);
    return found;
  });
  expect(loads[0]).toMatchObject({ cluster: clusterOf("a"), locality: "", dropped: 6n, issued: 0n });
  expect(loads[1]).toMatchObject({
    ...{ gatewayGroup: "default", cluster: clusterOf("a"), locality: "r/z" },
    ...{ issued: 40n, successful: 36n, failed: 2n, inProgress: 1n, requestsPerSecond: 15 },
  });
  expect(loads[2]).toMatchObject({
    ...{ gatewayGroup: "default", cluster: "other", locality: "" },
    ...{ issued: 4n, inProgress: 2n, requestsPerSecond: 2, dropped: 6n },
  });
  const pages = await admin().listLoads({ pageSize: 1, gatewayGroup: "default" });
  const next = await admin().listLoads({ pageSize: 3, gatewayGroup: "default", pageToken: pages.nextPageToken });
  expect([...pages.loads, ...next.loads]).toEqual(loads);

  const port = Number(running.plane.adminAddress.split(":")[1]);
  const { body } = await ask(port, { path: "/metrics" });
  const labels = 'gateway_group="default",cluster="a/default",locality="r/z"';
  expect(body).toContain(`sluice_load_requests_total{${labels}} 40`);
  expect(body).toContain(`sluice_load_results_total{${labels},outcome="error"} 2`);
  expect(body).toContain(`sluice_load_requests_in_progress{${labels}} 1`);
  stream.close();
  await waitFor("the stream's part to go", async () => {
    const found = (await admin().listLoads({})).loads[1];
    expect(found).toMatchObject({ issued: 40n, inProgress: 0n, requestsPerSecond: 0 });
    return true;
  });
});

test("L1 a stream without a node ends", async () => {
  const stream = open();
  stream.send({});
  const ended = await stream.end();
  expect(reason(ended)).toMatch(/^INVALID_ARGUMENT: the first request of a stream has no node/);
});
