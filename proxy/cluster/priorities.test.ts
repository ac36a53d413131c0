/** How traffic is shared among priorities: the tables of Envoy's documentation on priority levels, and panic. */
import { expect, test } from "vitest";

import { priorityLoads } from "./priorities.ts";

/** Priorities of 100 endpoints of which so many are healthy. */
const healthy = (...counts: number[]) => counts.map((count) => ({ total: 100, healthy: count, degraded: 0 }));

// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority
test.each([
  [
    [100, 100],
    [100, 0],
  ],
  [
    [72, 72],
    [100, 0],
  ],
  [
    [71, 71],
    [99, 1],
  ],
  [
    [50, 50],
    [70, 30],
  ],
  [
    [25, 100],
    [35, 65],
  ],
  [
    [25, 25],
    [50, 50],
  ],
  [
    [100, 100, 100],
    [100, 0, 0],
  ],
  [
    [50, 50, 50],
    [70, 30, 0],
  ],
  // The page says 7 and 93; what rounding leaves over goes to the first (LoadBalancerBase::distributeLoad).
  [
    [5, 0, 65],
    [8, 0, 92],
  ],
  [
    [0, 100],
    [0, 100],
  ],
])("%j percent healthy: loads %j", (percents, loads) => {
  expect(priorityLoads(healthy(...percents), 140, 50).healthy).toEqual(loads);
});

test("panic: too few healthy, and together not enough", () => {
  expect(priorityLoads(healthy(25, 20), 140, 50).panic).toEqual([true, true]);
  expect(priorityLoads(healthy(25, 100), 140, 50).panic).toEqual([false, false]);
  expect(priorityLoads(healthy(25, 20), 140, 0).panic).toEqual([false, false]);
});

test("total panic: by the number of endpoints", () => {
  const priorities = [
    { total: 3, healthy: 0, degraded: 0 },
    { total: 1, healthy: 0, degraded: 0 },
  ];
  expect(priorityLoads(priorities, 140, 50)).toEqual({ healthy: [75, 25], degraded: [0, 0], panic: [true, true] });
});

test("no endpoint in health and no panic: the first priority, which has nobody", () => {
  expect(priorityLoads(healthy(0, 0), 140, 0)).toEqual({ healthy: [100, 0], degraded: [0, 0], panic: [false, false] });
});

test("degraded endpoints take what healthy ones of all priorities cannot", () => {
  const priorities = [
    { total: 100, healthy: 0, degraded: 100 },
    { total: 100, healthy: 50, degraded: 0 },
  ];
  expect(priorityLoads(priorities, 140, 50)).toMatchObject({ healthy: [0, 70], degraded: [30, 0] });
});
