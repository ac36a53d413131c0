import { expect, test } from "vitest";

import { MetricsRegistry } from "../observe/metrics.ts";
import { ResourceCache } from "../xds/cache.ts";
import { Publications } from "../xds/publications.ts";
import { NodeRegistry } from "../xds/status.ts";
import { rolloutMetrics } from "./metrics.ts";
import { Rollouts } from "./tracker.ts";

test("gateway groups come and go: the rollouts of the last that went are remembered, and no others", () => {
  const rollouts = new Rollouts({
    ...{ target: new ResourceCache(), nodes: new NodeRegistry(), publications: new Publications() },
    ...{
      metrics: rolloutMetrics(new MetricsRegistry()),
      blame: { resource: () => undefined, registryOf: () => undefined },
    },
  });
  rollouts.markReady();
  let revision = 0n;
  const published = () => ({ first: ++revision, last: revision, objects: [] });
  rollouts.update("stays", [], published());
  rollouts.update("comes back", [], published());
  rollouts.removeGroup("comes back", published());
  rollouts.update("comes back", [], published());
  for (let n = 0; n < 150; n++) {
    rollouts.update(`group ${n}`, [], published());
    rollouts.removeGroup(`group ${n}`, published());
  }
  const left = new Set(rollouts.list().map(({ group }) => group));
  expect([...left]).toEqual(["stays", "comes back", ...Array.from({ length: 100 }, (_, n) => `group ${n + 50}`)]);
  expect(rollouts.list("group 149")).toHaveLength(2);
  expect(rollouts.list("group 0")).toEqual([]);
  rollouts.close();
});
