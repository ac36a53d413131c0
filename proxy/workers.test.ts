import { enableCompileCache } from "node:module";
import { join } from "node:path";

import { toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterEach, expect, test } from "vitest";

import { resourceType } from "#proto/resource-types.ts";

import { StatsReader } from "./observe/stats-reader.ts";
import { Workers } from "./workers.ts";
import type { ResourceUpdate } from "./xds/graph.ts";
import { assignment, cluster } from "../test/support/envoy-resources.ts";

// Workers use it as well; without it most of the time of these tests goes into reading the same code again and again.
enableCompileCache(join(import.meta.dirname, "../node_modules/.cache/sluice/compile"));

const configured: ResourceUpdate[] = [
  { typeUrl: resourceType("CDS").typeUrl, name: "a", bytes: toBinary(resourceType("CDS").schema, cluster("a")) },
  {
    typeUrl: resourceType("EDS").typeUrl,
    name: "a",
    bytes: toBinary(resourceType("EDS").schema, assignment("a", 1, 2)),
  },
];

let workers: Workers;

afterEach(() => workers.close());

function start(count: number): void {
  workers = new Workers({
    count,
    drainTimeMs: 100,
    log: pino({ level: "silent" }),
    current: () => configured,
    changed: () => {},
    stats: new StatsReader(),
  });
}

test("all workers get the configuration, and tell of their clusters as one", async () => {
  start(2);
  workers.apply(configured);
  expect(workers.upToDate).toBe(false);
  await expect.poll(() => workers.upToDate, { timeout: 30_000 }).toBe(true);
  expect(await workers.clusters()).toMatchObject([{ name: "a", endpoints: [{ port: 1 }, { port: 2 }] }]);
});

test("a worker that crashes is counted, and replaced by one with the whole configuration", async () => {
  start(1);
  // No main thread sends this; it is the shortest way to a bug.
  workers.apply([{ typeUrl: "nonsense", name: "x", bytes: new Uint8Array() }]);
  await expect.poll(() => workers.crashes, { timeout: 30_000 }).toBe(1);
  await expect.poll(() => workers.upToDate, { timeout: 30_000 }).toBe(true);
  expect(await workers.clusters()).toMatchObject([{ name: "a" }]);
  expect(workers.crashes).toBe(1);
});
