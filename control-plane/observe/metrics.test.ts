import { expect, test } from "vitest";

import { MetricsRegistry } from "./metrics.ts";
import { addProcessMetrics } from "./process-metrics.ts";

test("counters and gauges are there from the start and keep their labels apart", () => {
  const registry = new MetricsRegistry();
  registry.counter({ name: "a_total", help: "A." });
  const requests = registry.counter({ name: "requests_total", help: "By\ncode.", labels: ["method", "code"] });
  requests.add(1, 'x"\\\n', "ok");
  requests.add(2, 'x"\\\n', "ok");
  requests.add(1, "y", "ok");
  const streams = registry.gauge({ name: "streams", help: "Open." });
  streams.add(3);
  streams.add(-1);
  expect(registry.text()).toBe(`# HELP a_total A.
# TYPE a_total counter
a_total 0
# HELP requests_total By\\ncode.
# TYPE requests_total counter
requests_total{method="x\\"\\\\\\n",code="ok"} 3
requests_total{method="y",code="ok"} 1
# HELP streams Open.
# TYPE streams gauge
streams 2
`);
});

test("a histogram's buckets are cumulative", () => {
  const registry = new MetricsRegistry();
  const seconds = registry.histogram({ name: "d_seconds", help: "D.", labels: ["m"] }, [0.1, 1]);
  for (const value of [0.05, 0.1, 0.5, 7]) seconds.observe(value, "x");
  expect(registry.text().split("\n").slice(2, -1)).toEqual([
    'd_seconds_bucket{m="x",le="0.1"} 2',
    'd_seconds_bucket{m="x",le="1"} 3',
    'd_seconds_bucket{m="x",le="+Inf"} 4',
    'd_seconds_sum{m="x"} 7.65',
    'd_seconds_count{m="x"} 4',
  ]);
});

test("more label values than fit are counted together", () => {
  const registry = new MetricsRegistry();
  const counter = registry.counter({ name: "c_total", help: "C.", labels: ["l"] });
  for (let at = 0; at < 10_050; at++) counter.add(1, String(at));
  expect(registry.text()).toContain('c_total{l="other"} 50\n');
});

test("the process tells of itself", () => {
  const registry = new MetricsRegistry();
  const stop = addProcessMetrics(registry, "1.2.3");
  expect(registry.text()).toMatch(/sluice_build_info\{version="1\.2\.3",node_version="\d+\.\d+\.\d+"\} 1\n/);
  expect(registry.text()).toMatch(/process_cpu_seconds_total \d/);
  stop();
});
