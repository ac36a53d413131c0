import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";

import { NodeState, StatusService } from "#sluice/admin/v1/status_service_pb.ts";

import { createLogger } from "../observe/logger.ts";
import { MetricsRegistry } from "../observe/metrics.ts";
import { blameFrom } from "../rollout/blame-sources.ts";
import { rolloutMetrics } from "../rollout/metrics.ts";
import { Rollouts } from "../rollout/tracker.ts";
import { openStore } from "../store/open.ts";
import { ResourceCache } from "../xds/cache.ts";
import { Publications } from "../xds/publications.ts";
import { NodeRegistry } from "../xds/status.ts";
import { delivery } from "./deliver.ts";
import { statusService } from "./status-service.ts";

test("data planes are listed by group and id, in pages, with what they were sent", async () => {
  const dir = await mkdtemp(join(tmpdir(), "sluice-status-"));
  const store = await openStore({ dataDir: join(dir, "data") }, { warn: () => {} });
  const nodes = new NodeRegistry();
  const cache = new ResourceCache();
  const rollouts = new Rollouts({
    ...{ target: cache, nodes, publications: new Publications() },
    ...{ metrics: rolloutMetrics(new MetricsRegistry()), blame: blameFrom(cache, store) },
  });
  const sources = {
    version: "1.2.3",
    startTime: new Date(1000),
    store,
    nodes,
    rollouts,
    xdsAddress: "127.0.0.1:18000",
  };
  const client = createClient(
    StatusService,
    createRouterTransport((router) =>
      router.service(StatusService, statusService(sources, delivery(createLogger("silent")))),
    ),
  );
  const type = {
    typeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    sentVersion: "b",
    acceptedVersion: "a",
    resources: 3,
    pending: false,
    nack: "no such filter",
    lastAckTimeMs: 5000,
    lastNackTimeMs: 6000,
    missing: ["gone"],
    refusals: new Map([["pay/default", "no such filter"]]),
  };
  const connect = (gatewayGroup: string, id: string) =>
    nodes.connect(
      { id, gatewayGroup, kind: "envoy", version: "1.40.0", address: "127.0.0.1:5" },
      {
        report: () => ({ groupExists: gatewayGroup !== "nowhere", types: id === "two" ? [type] : [], problems: [] }),
        outstanding: () => ({ unsent: Number.POSITIVE_INFINITY, unanswered: Number.POSITIVE_INFINITY }),
        resources: () => [],
      },
    );
  connect("default", "two");
  connect("nowhere", "three");
  connect("default", "one").close();

  const first = await client.listNodes({ pageSize: 2 });
  expect(first.nodes.map(({ gatewayGroup, id, state }) => [gatewayGroup, id, state])).toEqual([
    ["default", "one", NodeState.DISCONNECTED],
    ["default", "two", NodeState.NACKED],
  ]);
  expect(first.nodes[0]?.disconnectTime).toBeDefined();
  expect(first.nodes[1]?.types).toMatchObject([
    { sentVersion: "b", acceptedVersion: "a", resources: 3, nack: "no such filter", missing: ["gone"] },
  ]);
  const [refused] = first.nodes[1]?.types[0]?.refusals ?? [];
  expect(refused).toMatchObject({ name: "pay/default", objects: [{ name: "pay", field: "upstreams[default]" }] });
  expect(first.nodes[1]?.types[0]?.lastNackTime?.seconds).toBe(6n);
  const second = await client.listNodes({ pageSize: 2, pageToken: first.nextPageToken });
  expect(second.nodes.map(({ id, state }) => [id, state])).toEqual([["three", NodeState.UNKNOWN_GROUP]]);
  expect(second.nextPageToken).toBe("");
  expect((await client.listNodes({ gatewayGroup: "nowhere" })).nodes).toHaveLength(1);
  expect(await client.getStatus({})).toMatchObject({
    version: "1.2.3",
    connectedNodes: 2,
    store: "sqlite",
    revision: 1n,
  });
  await store.close();
  await rm(dir, { recursive: true });
});
