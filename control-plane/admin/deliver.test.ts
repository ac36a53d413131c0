/** Every stream of the admin API that goes on until its caller leaves cuts off a caller that doesn't read. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { create, type DescMethod } from "@bufbuild/protobuf";
import { createContextValues, createHandlerContext, type HandlerContext } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, test } from "vitest";

import { DiscoveryService, WatchServicesRequestSchema } from "#sluice/admin/v1/discovery_service_pb.ts";
import { RolloutService, WatchRolloutRequestSchema } from "#sluice/admin/v1/rollout_service_pb.ts";
import { StatusService, WatchNodeResourcesRequestSchema } from "#sluice/admin/v1/status_service_pb.ts";

import { waitFor } from "../../test/support/wait.ts";
import { Endpoints } from "../endpoints/endpoints.ts";
import { createLogger } from "../observe/logger.ts";
import { MetricsRegistry } from "../observe/metrics.ts";
import { blameFrom } from "../rollout/blame-sources.ts";
import { rolloutMetrics } from "../rollout/metrics.ts";
import { Rollouts } from "../rollout/tracker.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/store.ts";
import { ResourceCache } from "../xds/cache.ts";
import { Publications } from "../xds/publications.ts";
import { NodeRegistry } from "../xds/status.ts";
import { cutKey } from "./context.ts";
import { delivery } from "./deliver.ts";
import { discoveryService } from "./discovery-service.ts";
import { nodeResources } from "./node-resources.ts";
import { rolloutService } from "./rollout-service.ts";

const log = createLogger("silent");
const STALLED_MS = 20;

let dir: string;
let store: Store;
let nodes: NodeRegistry;
let rollouts: Rollouts;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-deliver-"));
  store = await openStore({ dataDir: join(dir, "data") }, { warn: () => {} });
  nodes = new NodeRegistry();
  const cache = new ResourceCache();
  rollouts = new Rollouts({
    ...{ target: cache, nodes, publications: new Publications() },
    ...{ metrics: rolloutMetrics(new MetricsRegistry()), blame: blameFrom(cache, store) },
  });
});
afterEach(async () => {
  await store.close();
  await rm(dir, { recursive: true });
});

/** A call of a method, and whether it was cut. */
function call(method: DescMethod): { readonly context: HandlerContext; readonly isCut: () => boolean } {
  let cut = false;
  const contextValues = createContextValues().set(cutKey, () => {
    cut = true;
  });
  const about = { service: method.parent, method, protocolName: "grpc", requestMethod: "POST", url: "http://test/" };
  return { context: createHandlerContext({ ...about, contextValues }), isCut: () => cut };
}

test.each([
  [
    "a rollout that isn't over",
    RolloutService.method.watchRollout,
    (context: HandlerContext) =>
      rolloutService({ rollouts, nodes, store }, delivery(log, STALLED_MS)).watchRollout(
        create(WatchRolloutRequestSchema, { revision: store.state.revision }),
        context,
      ),
  ],
  [
    "the resources of a data plane",
    StatusService.method.watchNodeResources,
    (context: HandlerContext) => {
      nodes.connect(
        { id: "one", gatewayGroup: "default", kind: "envoy", version: "1.40.0", address: "127.0.0.1:5" },
        {
          report: () => ({ groupExists: true, types: [], problems: [] }),
          outstanding: () => ({ unsent: Number.POSITIVE_INFINITY, unanswered: Number.POSITIVE_INFINITY }),
          resources: () => [],
        },
      );
      return nodeResources({ nodes, rollouts }, delivery(log, STALLED_MS)).watchNodeResources(
        create(WatchNodeResourcesRequestSchema, { nodeId: "one" }),
        context,
      );
    },
  ],
  [
    "discovered services",
    DiscoveryService.method.watchServices,
    (context: HandlerContext) =>
      discoveryService(new Endpoints({ dataDir: dir, log }), delivery(log, STALLED_MS)).watchServices(
        create(WatchServicesRequestSchema, {}),
        context,
      ),
  ],
])("a watcher of %s that does not read is cut off", async (_, method, open) => {
  const { context, isCut } = call(method);
  const watch = open(context)[Symbol.asyncIterator]();
  expect((await watch.next()).done).toBe(false);
  // The message was handed over, and nobody asks for the next one.
  await waitFor("the cut", isCut);
  await watch.return?.();
});
