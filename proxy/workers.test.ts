import { enableCompileCache } from "node:module";
import { join } from "node:path";

import { toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterEach, expect, onTestFinished, test } from "vitest";

import { resourceType } from "#proto/resource-types.ts";

import { StatsReader } from "./observe/stats-reader.ts";
import { Workers } from "./workers.ts";
import type { ResourceUpdate } from "./xds/graph.ts";
import { assignment, cluster } from "../test/support/envoy-resources.ts";

// Workers use it as well; without it most of the time of these tests goes into reading the same code again and again.
enableCompileCache(join(import.meta.dirname, "../node_modules/.cache/sluice/compile"));

const configured: ResourceUpdate[] = [
  {
    typeUrl: resourceType("CDS").typeUrl,
    name: "a",
    resource: { bytes: toBinary(resourceType("CDS").schema, cluster("a")) },
  },
  {
    typeUrl: resourceType("EDS").typeUrl,
    name: "a",
    resource: { bytes: toBinary(resourceType("EDS").schema, assignment("a", 1, 2)) },
  },
];

let workers: Workers;
/** How many workers served, at each change. */
let seen: number[];
/** How many were up to date, at each change after a crash. */
let upToDateSince: number[];
/** How often a worker could not be started. */
let unstarted: number;

afterEach(() => workers.close());

function start(count: number, current: readonly ResourceUpdate[] = configured): void {
  seen = [];
  upToDateSince = [];
  unstarted = 0;
  const log = pino(
    { level: "error" },
    { write: (line) => void (unstarted += line.includes("can't be started") ? 1 : 0) },
  );
  workers = new Workers({
    count,
    drainTimeMs: 100,
    node: { id: "n", cluster: "g" },
    controlPlane: () => undefined,
    log,
    current: () => current,
    changed: () => {
      seen.push(workers.serving);
      if (workers.crashes > 0) upToDateSince.push(workers.upToDate);
    },
    stats: new StatsReader(),
  });
}

test("all workers get the configuration, and tell of their clusters as one", async () => {
  start(2);
  void workers.apply(configured);
  expect([workers.serving, workers.upToDate]).toEqual([0, 0]);
  await expect.poll(() => workers.upToDate).toBe(2);
  expect(workers.serving).toBe(2);
  expect(await workers.clusters()).toMatchObject([{ name: "a", endpoints: [{ port: 1 }, { port: 2 }] }]);
});

test("a change is in use when every worker that serves has it, and one that crashes over it keeps nobody waiting", async () => {
  start(2);
  await workers.apply(configured);
  await expect.poll(() => workers.upToDate).toBe(2);
  const used = workers.apply(configured);
  expect(workers.upToDate).toBe(0);
  await used;
  expect(workers.upToDate).toBe(2);
  await workers.apply([{ typeUrl: "nonsense", name: "x", resource: { bytes: new Uint8Array() } }]);
  expect(workers.crashes).toBeGreaterThan(0);
});

test("a worker that crashes is counted, and replaced by one with the whole configuration", async () => {
  start(1);
  // No main thread sends this; it is the shortest way to a bug.
  void workers.apply([{ typeUrl: "nonsense", name: "x", resource: { bytes: new Uint8Array() } }]);
  await expect.poll(() => workers.crashes).toBe(1);
  await expect.poll(() => workers.upToDate).toBe(1);
  expect(await workers.clusters()).toMatchObject([{ name: "a" }]);
  expect(workers.crashes).toBe(1);
});

test("workers that crash one after the other serve nothing", async () => {
  const nonsense: ResourceUpdate[] = [{ typeUrl: "nonsense", name: "x", resource: { bytes: new Uint8Array() } }];
  start(2, nonsense);
  void workers.apply(nonsense);
  await expect.poll(() => workers.crashes).toBeGreaterThan(1);
  expect([workers.serving, workers.upToDate]).toEqual([0, 0]);
  expect(await workers.clusters()).toEqual([]);
});

test("a worker that crashes serves until another one does in its stead", async () => {
  start(1);
  void workers.apply(configured);
  await expect.poll(() => seen).toEqual([1]);
  void workers.apply([{ typeUrl: "nonsense", name: "x", resource: { bytes: new Uint8Array() } }]);
  // What was nonsense is behind it only as long as it has not applied it: the other one starts without.
  await expect.poll(() => workers.crashes).toBe(1);
  expect(upToDateSince[0]).toBe(0);
  await expect.poll(() => workers.upToDate).toBe(1);
  expect(new Set(seen)).toEqual(new Set([1]));
  void workers.apply(configured);
  await expect.poll(() => workers.upToDate).toBe(1);
  expect(workers.crashes).toBe(1);
});

test("where the system gives no further thread those that there are serve on, and it is tried again", async () => {
  const { NODE_OPTIONS } = process.env;
  onTestFinished(() => {
    if (NODE_OPTIONS === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = NODE_OPTIONS;
  });
  start(1);
  void workers.apply(configured);
  await expect.poll(() => workers.upToDate).toBe(1);
  // Thrown by `new Worker`, as EAGAIN is where there are too many threads.
  process.env["NODE_OPTIONS"] = "--no-such-option";
  workers.setCount(3);
  void workers.apply([{ typeUrl: "nonsense", name: "x", resource: { bytes: new Uint8Array() } }]);
  await expect.poll(() => workers.crashes).toBe(1);
  await expect.poll(() => unstarted).toBeGreaterThanOrEqual(2);
  expect([workers.serving, workers.upToDate]).toEqual([1, 0]);
  delete process.env["NODE_OPTIONS"];
  await expect.poll(() => workers.upToDate).toBe(3);
  expect(workers.crashes).toBe(1);
});
