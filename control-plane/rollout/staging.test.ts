/** What staging does when things happen while the store is asked; the rest of it is in test/features/rollout-trial.test.ts. */
import { expect, test } from "vitest";

import { resourceType } from "#proto/resource-types.ts";

import { MetricsRegistry } from "../observe/metrics.ts";
import type { TrialRow } from "../store/trial-rows.ts";
import { ResourceCache } from "../xds/cache.ts";
import { Candidates } from "../xds/candidates.ts";
import { Publications } from "../xds/publications.ts";
import { NodeRegistry } from "../xds/status.ts";
import { rolloutMetrics } from "./metrics.ts";
import { Staging } from "./staging.ts";
import { Rollouts } from "./tracker.ts";

const CDS = resourceType("CDS").typeUrl;
const cluster = (content: string) => [{ typeUrl: CDS, name: "orders", bytes: Buffer.from(content) }];
const revision = (at: bigint) => ({ first: at, last: at, objects: [] });

test("a gateway group that is deleted while its trial begins, and comes back, is served as it is published", async () => {
  const cache = new ResourceCache();
  const nodes = new NodeRegistry();
  const candidates = new Candidates(cache);
  const rollouts = new Rollouts({
    ...{ target: cache, nodes, publications: new Publications(), metrics: rolloutMetrics(new MetricsRegistry()) },
    blame: { resource: () => undefined, registryOf: () => undefined },
  });
  const asked = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<void>();
  const staging = new Staging({
    ...{ cache, rollouts, candidates, nodes },
    place: {
      self: "self",
      isLive: () => true,
      nodesElsewhere: async () => false,
      rows: {
        load: async () => [],
        read: async () => undefined,
        async begin(trial): Promise<TrialRow> {
          asked.resolve();
          await answered.promise;
          return { ...trial, state: "trial", why: "" };
        },
        end: async (trial) => trial,
        settle: async () => {},
        drop: async () => {},
        follow: () => async () => {},
      },
    },
    policy: () => ({ trialTimeoutMs: 600_000, onRefusal: "hold_back", onTimeout: "hold_back" }),
    rollBack: async () => ({ ok: false, why: "not here" }),
    offers: () => true,
    log: { info: () => {}, error: () => {} },
  });
  await staging.restore();
  staging.markReady();
  staging.update("g", cluster("published"), revision(1n));
  const node = { id: "a", gatewayGroup: "g", kind: "native", version: "1", address: "127.0.0.1:1" };
  nodes.connect(node, {
    report: () => ({ groupExists: true, types: [], problems: [] }),
    outstanding: () => ({ unsent: 0, unanswered: 0 }),
    resources: () => [],
  });
  staging.update("g", cluster("tried"), revision(2n));
  await asked.promise;

  staging.removeGroup("g", revision(3n));
  answered.resolve();
  staging.update("g", cluster("published"), revision(4n));
  await staging.close();
  const version = (set: ReturnType<Candidates["resources"]>) => set?.get("orders")?.version;
  expect(version(candidates.resources(node, CDS))).toBe(version(cache.resources("g", CDS)));
  expect(version(cache.resources("g", CDS))).toBeDefined();
  rollouts.close();
});
