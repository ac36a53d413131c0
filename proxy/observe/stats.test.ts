/** Statistics: counted by workers, read and summed by the main thread, shown by Envoy's names. */
import { setImmediate } from "node:timers/promises";

import { expect, test } from "vitest";

import { prometheusText, statsValues } from "./prometheus.ts";
import { StatsReader } from "./stats-reader.ts";
import { StatsStore } from "./stats.ts";

/** A reader with some workers that tell it of themselves. */
async function startWorkers(count: number, use: (store: StatsStore, worker: number) => void) {
  const reader = new StatsReader();
  for (let worker = 0; worker < count; worker++) {
    use(new StatsStore((message) => reader.take(worker, message)), worker);
  }
  await setImmediate();
  return reader;
}

const valuesOf = (reader: StatsReader) => new Map(statsValues(reader.samples()));

test("workers' counts are summed, and change where they stand", async () => {
  const stores: StatsStore[] = [];
  const reader = await startWorkers(2, (store, worker) => {
    stores.push(store);
    store.cluster("a:b").upstream_rq_total.inc(worker + 1);
    store.listener("http").downstream_cx_active.inc();
  });
  expect(valuesOf(reader).get("cluster.a_b.upstream_rq_total")).toBe(3);
  expect(valuesOf(reader).get("http.http.downstream_cx_active")).toBe(2);
  stores[0]?.cluster("a:b").upstream_rq_total.inc();
  stores[0]?.listener("http").downstream_cx_active.dec();
  expect(valuesOf(reader).get("cluster.a_b.upstream_rq_total")).toBe(4);
  expect(valuesOf(reader).get("http.http.downstream_cx_active")).toBe(1);
});

test("a worker that is gone leaves its counts and takes its levels with it", async () => {
  const reader = await startWorkers(1, (store) => {
    store.cluster("c").upstream_rq_total.inc(5);
    store.cluster("c").upstream_rq_active.inc(2);
    store.cluster("c").status(200);
    store.cluster("c").upstream_rq_time.record(3);
  });
  reader.forget(0);
  const store = new StatsStore((message) => reader.take(0, message));
  store.cluster("c").upstream_rq_total.inc(1);
  await setImmediate();
  expect(valuesOf(reader).get("cluster.c.upstream_rq_total")).toBe(6);
  expect(valuesOf(reader).get("cluster.c.upstream_rq_active")).toBe(0);
  expect(valuesOf(reader).get("cluster.c.upstream_rq_200")).toBe(1);
  expect(prometheusText(reader.samples())).toContain('envoy_cluster_upstream_rq_time_count{envoy_cluster_name="c"} 1');
});

test("many clusters need more than one piece of memory", async () => {
  const reader = await startWorkers(1, (store) => {
    for (let n = 0; n < 1000; n++) store.cluster(`c${n}`).upstream_rq_total.inc(n);
  });
  const values = valuesOf(reader);
  for (const n of [0, 1, 500, 999]) expect(values.get(`cluster.c${n}.upstream_rq_total`)).toBe(n);
});

test("a cluster that is gone is told of no more, also not of what still goes on, nor of workers that are gone; one that comes after it begins anew", async () => {
  const stores: StatsStore[] = [];
  const reader = await startWorkers(2, (store) => {
    stores.push(store);
    for (const name of ["stays", "goes"]) {
      store.cluster(name).upstream_rq_total.inc();
      store.cluster(name).http2().keepalive_timeout.inc();
    }
  });
  reader.forget(1);
  const [store] = stores;
  const before = store?.cluster("goes");
  store?.forgetCluster("goes");
  // Connections and requests that were open count on.
  before?.upstream_rq_total.inc();
  before?.status(200);
  before?.statusOf("retry", 503);
  before?.timeOf("internal", 1);
  await setImmediate();
  const names = () => [...valuesOf(reader).keys()].filter((name) => name.includes("goes"));
  expect(names()).toEqual([]);
  expect(valuesOf(reader).get("cluster.stays.upstream_rq_total")).toBe(2);

  store?.cluster("goes").upstream_rq_total.inc(7);
  before?.upstream_rq_total.inc();
  expect(before?.http2()).not.toBe(store?.cluster("goes").http2());
  before?.http2().keepalive_timeout.inc();
  await setImmediate();
  expect(valuesOf(reader).get("cluster.goes.upstream_rq_total")).toBe(7);
  expect(valuesOf(reader).get("cluster.goes.http2.keepalive_timeout")).toBe(0);
  // Of one that came and went at once nothing is said.
  store?.cluster("short").upstream_rq_total.inc();
  store?.forgetCluster("short");
  await setImmediate();
  expect([...valuesOf(reader).keys()].filter((name) => name.includes("short"))).toEqual([]);
});

test("Prometheus: Envoy's metric names, classes and codes as tags, each metric in one block", async () => {
  const reader = await startWorkers(1, (store) => {
    store.cluster('o"1').upstream_rq_total.inc(5);
    store.cluster('o"1').status(503);
    store.cluster("p").upstream_rq_5xx.inc();
    store.listener("http").downstream_rq_2xx.inc(2);
  });
  const text = prometheusText(reader.samples());
  expect(text).toContain('envoy_cluster_upstream_rq_total{envoy_cluster_name="o\\"1"} 5\n');
  expect(text).toContain('envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="o\\"1"} 1\n');
  expect(text).toContain('envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="p"} 1\n');
  expect(text).toContain(
    'envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="http"} 2\n',
  );
  const types = text.split("\n").filter((line) => line.startsWith("# TYPE"));
  expect(new Set(types).size).toBe(types.length);
});

test("histograms: cumulative buckets with sum and count; quantiles in /stats", async () => {
  const reader = await startWorkers(1, (store) => {
    for (const ms of [0.2, 0.5, 3, 4_000_000]) store.cluster("c").upstream_rq_time.record(ms);
  });
  const text = prometheusText(reader.samples());
  const bucket = (le: string) =>
    new RegExp(`envoy_cluster_upstream_rq_time_bucket\\{envoy_cluster_name="c",le="${le}"\\} (\\d+)`).exec(text)?.[1];
  expect([bucket("0.5"), bucket("1"), bucket("5"), bucket("3600000"), bucket("\\+Inf")]).toEqual([
    "2",
    "2",
    "3",
    "3",
    "4",
  ]);
  expect(text).toContain('envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="c"} 4000003.7\n');
  expect(valuesOf(reader).get("cluster.c.upstream_rq_time")).toMatch(/^P0\(nan,0\) .* P100\(nan,3600000\)$/);
  expect(valuesOf(reader).get("cluster.c.upstream_cx_connect_ms")).toBe("No recorded values");
});
