import { setImmediate } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";

import { breakerSamples } from "./breaker-stats.ts";
import { statsValues } from "./observe/prometheus.ts";
import { StatsReader } from "./observe/stats-reader.ts";
import { StatsStore } from "./observe/stats.ts";
import type { Resource } from "./xds/graph.ts";

const cluster = (name: string, trackRemaining: boolean): Resource => ({
  ...{ name, version: "1", updatedMs: 0, bytes: new Uint8Array() },
  message: create(ClusterSchema, {
    name,
    circuitBreakers: {
      thresholds: [
        { priority: 1, maxRequests: 1 },
        { maxConnections: 2, maxRequests: 3, trackRemaining },
      ],
    },
  }),
});

test("a breaker is open when it is in any worker, and what remains is the sum where it is asked for", async () => {
  const reader = new StatsReader();
  const stores = [0, 1].map((worker) => new StatsStore((message) => reader.take(worker, message)));
  stores[0]?.cluster("a:b").upstream_cx_active.inc(2);
  stores[0]?.cluster("a:b").upstream_rq_active.inc(2);
  stores[1]?.cluster("a:b").upstream_rq_active.inc(2);
  await setImmediate();
  const resources = new Map([cluster("a:b", true), cluster("c", false)].map((one) => [one.name, one]));
  const values = () => new Map(statsValues(breakerSamples(() => resources, 2, reader.gauges("cluster"))));
  const at = (name: string, priority = "default") => `cluster.${name}.circuit_breakers.${priority}`;
  const closed = (name: string) =>
    Object.fromEntries(["cx", "cx_pool", "rq", "rq_pending"].map((what) => [`${at(name, "high")}.${what}_open`, 0]));
  expect(Object.fromEntries(values())).toEqual({
    ...closed("a_b"),
    ...closed("c"),
    [`${at("a_b")}.cx_pool_open`]: 0,
    [`${at("a_b")}.cx_open`]: 1,
    [`${at("a_b")}.remaining_cx`]: 2,
    [`${at("a_b")}.rq_pending_open`]: 0,
    [`${at("a_b")}.remaining_pending`]: 2048,
    [`${at("a_b")}.rq_open`]: 0,
    [`${at("a_b")}.remaining_rq`]: 2,
    [`${at("c")}.cx_pool_open`]: 0,
    [`${at("c")}.cx_open`]: 0,
    [`${at("c")}.rq_pending_open`]: 0,
    [`${at("c")}.rq_open`]: 0,
  });
  stores[1]?.cluster("a:b").upstream_rq_active.inc();
  stores[0]?.cluster("a:b").upstream_cx_active.dec();
  expect(values().get(`${at("a_b")}.rq_open`)).toBe(1);
  expect(values().get(`${at("a_b")}.cx_open`)).toBe(0);
  // What is of priority HIGH counts against its own limits only.
  stores[1]?.cluster("a:b")["high.rq_active"].inc();
  expect(values().get(`${at("a_b")}.rq_open`)).toBe(0);
  expect(values().get(`${at("a_b", "high")}.rq_open`)).toBe(1);
});

test("a cluster is counted by its alt_stat_name; of two that share one the first is shown", async () => {
  const reader = new StatsReader();
  const store = new StatsStore((message) => reader.take(0, message));
  store.cluster("pool").upstream_cx_active.inc(2);
  await setImmediate();
  const resources = new Map(
    [cluster("a", false), cluster("b", false)].map((one) => {
      Object.assign(one.message, { altStatName: "pool" });
      return [one.name, one];
    }),
  );
  const samples = [...breakerSamples(() => resources, 1, reader.gauges("cluster"))];
  const open = samples.filter(({ name }) => name === "cluster.pool.circuit_breakers.default.cx_open");
  expect(open).toMatchObject([{ value: 1, tags: [["envoy_cluster_name", "pool"]] }]);
  expect(samples.some(({ name }) => name.startsWith("cluster.a."))).toBe(false);
});
