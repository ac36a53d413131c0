import { resourceType } from "#proto/resource-types.ts";

import type { AdminSource } from "./admin/source.ts";
import { countedClusters, endpointCounts } from "./cluster-facts.ts";
import { clusterGauge } from "./cluster-gauge.ts";
import type { Sample } from "./observe/stats-reader.ts";

/**
 * `cluster.<name>.membership_*` of all clusters, by what the control plane says of their endpoints; of names that are resolved here (DNS) it
 * says nothing. Made when somebody asks.
 */
export function* membershipSamples(active: AdminSource["active"]): Generator<Sample> {
  const assignments = active(resourceType("EDS"));
  for (const { statName, serviceName, own } of countedClusters(active)) {
    const assignment = serviceName === undefined ? undefined : assignments.get(serviceName);
    const counts = assignment === undefined ? own : endpointCounts(assignment);
    if (counts === undefined) continue;
    for (const [what, value] of Object.entries(counts)) yield clusterGauge(statName, `membership_${what}`, value);
  }
}
