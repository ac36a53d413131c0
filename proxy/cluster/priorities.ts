/** What is known of a priority's endpoints; counts. */
export interface PriorityHealth {
  readonly total: number;
  readonly healthy: number;
  readonly degraded: number;
}

/** How traffic is shared among priorities, by index. Loads are percentages that sum up to 100. */
export interface PriorityLoads {
  readonly healthy: readonly number[];
  readonly degraded: readonly number[];
  /** Priorities with too few endpoints in health, in which all are used (panic). */
  readonly panic: readonly boolean[];
}

/**
 * Envoy LoadBalancerBase::recalculatePerPriorityState and -Panic: a priority takes as much as its endpoints in health can bear,
 * overprovisioned, and the rest goes on to the next; degraded endpoints come after all healthy ones. With all of them down, traffic is spread
 * over everything there is. Whole numbers, as Envoy's, so that the shares agree. `panicThreshold` in percent, 0: no panic.
 */
export function priorityLoads(
  priorities: readonly PriorityHealth[],
  overprovisioningFactor: number,
  panicThreshold: number,
): PriorityLoads {
  const available = (count: number, total: number) =>
    total === 0 ? 0 : Math.min(100, Math.floor((overprovisioningFactor * count) / total));
  const healthy = priorities.map((priority) => available(priority.healthy, priority.total));
  const degraded = priorities.map((priority) => available(priority.degraded, priority.total));
  const total = Math.min(100, sum(healthy) + sum(degraded));
  if (total === 0) return loadsWithoutHealth(priorities, panicThreshold);

  const panic = priorities.map((priority) => {
    const usable = priority.total === 0 ? 0 : (100 * (priority.healthy + priority.degraded)) / priority.total;
    return total < 100 && usable < panicThreshold;
  });
  let left = 100;
  const share = (availability: number) => {
    const load = Math.min(left, Math.floor((availability * 100) / total));
    left -= load;
    return load;
  };
  const healthyLoads = healthy.map(share);
  const degradedLoads = degraded.map(share);
  // What rounding left over goes to the first priority that has anything.
  const firstHealthy = healthy.findIndex((availability) => availability > 0);
  if (firstHealthy >= 0) healthyLoads[firstHealthy] = (healthyLoads[firstHealthy] ?? 0) + left;
  else {
    const firstDegraded = degraded.findIndex((availability) => availability > 0);
    degradedLoads[firstDegraded] = (degradedLoads[firstDegraded] ?? 0) + left;
  }
  return { healthy: healthyLoads, degraded: degradedLoads, panic };
}

/** Total panic: by the number of endpoints (recalculateLoadInTotalPanic). Without panic all goes to the first, which has nobody to offer. */
function loadsWithoutHealth(priorities: readonly PriorityHealth[], panicThreshold: number): PriorityLoads {
  const none = priorities.map(() => 0);
  const hosts = sum(priorities.map(({ total }) => total));
  if (panicThreshold === 0 || hosts === 0) {
    return { healthy: none.map((_, at) => (at === 0 ? 100 : 0)), degraded: none, panic: none.map(() => false) };
  }
  const loads = priorities.map(({ total }) => Math.floor((100 * total) / hosts));
  const first = priorities.findIndex(({ total }) => total > 0);
  loads[first] = (loads[first] ?? 0) + 100 - sum(loads);
  return { healthy: loads, degraded: none, panic: none.map(() => true) };
}

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
