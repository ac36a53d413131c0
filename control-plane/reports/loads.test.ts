/** What data planes may make the sums of loads grow to (L1, and what bad input gets): nothing of one takes the room of another. */
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { ClusterStatsSchema } from "#envoy/config/endpoint/v3/load_report_pb.ts";

import { MetricsRegistry } from "../observe/metrics.ts";
import { Loads } from "./loads.ts";

const stats = (clusterName: string, ...regions: string[]) =>
  create(ClusterStatsSchema, {
    clusterName,
    upstreamLocalityStats: regions.map((region) => ({ locality: { region }, totalIssuedRequests: 1n })),
  });

const numbered = (name: string, length: number) => Array.from({ length }, (_, at) => `${name}${at}`);

const rows = (loads: Loads) =>
  loads.list().map(({ gatewayGroup, cluster, locality, issued }) => [gatewayGroup, cluster, locality, issued]);

const any = { has: () => true };
const none = { has: () => false };

test("L1 clusters that don't exist are one row of their gateway group, groups that don't exist one of all", () => {
  const loads = new Loads(new MetricsRegistry(), () => true);
  const reports = numbered("made-up-", 40).map((cluster) => stats(cluster, ...numbered("region", 10)));
  for (const group of numbered("made-up-", 50)) loads.report(group, reports, [], undefined);
  loads.report("default", reports, [], none);
  loads.report("default", [stats("shop/default", "eu")], [], any);
  expect(rows(loads)).toEqual([
    ["default", "other", "", 400],
    ["default", "shop/default", "eu", 1],
    ["other", "other", "", 20_000],
  ]);
});

test("L1 made-up localities of a cluster are added up, and leave room for other clusters", () => {
  const loads = new Loads(new MetricsRegistry(), () => true);
  const made = numbered("region", 150);
  for (const cluster of numbered("c", 200)) loads.report("a", [stats(cluster, ...made)], [], any);
  // As much as there is room for, and a row more for each.
  expect(loads.list().length).toBeLessThanOrEqual(200 + 10_000 + 200);
  expect(rows(loads)).toContainEqual(["a", "c0", "other", 150 - 64]);
  loads.report("b", [stats("shop/default", "eu", "us")], [], any);
  expect(rows(loads).filter(([group]) => group === "b")).toEqual([
    ["b", "shop/default", "eu", 1],
    ["b", "shop/default", "other", 1],
  ]);
});

test("L1 what a stream has under way is taken back from the row that it was added to", () => {
  const loads = new Loads(new MetricsRegistry(), () => true);
  const shares: Parameters<Loads["report"]>[2] = [];
  const busy = create(ClusterStatsSchema, {
    clusterName: "made-up",
    upstreamLocalityStats: [
      { totalRequestsInProgress: 3n },
      { locality: { region: "eu" }, totalRequestsInProgress: 4n },
    ],
  });
  loads.report("default", [busy], shares, none);
  expect(loads.list().map(({ inProgress }) => inProgress)).toEqual([7]);
  loads.withdraw(shares);
  expect(loads.list().map(({ inProgress }) => inProgress)).toEqual([0]);
});

test("clusters that are gone are forgotten a while after their last report, and leave their room to those that come after them", () => {
  const metrics = new MetricsRegistry();
  let nowMs = 0;
  const there = new Set(["stays"]);
  const loads = new Loads(
    metrics,
    (_, cluster) => there.has(cluster),
    () => nowMs,
  );
  // More than there are series of one metric, and rows of one control plane.
  for (let round = 0; round < 60; round++) {
    const names = numbered(`round-${round}-`, 1_000);
    for (const name of names) there.add(name);
    loads.report("a", [stats("stays", "eu"), ...names.map((name) => stats(name, "eu"))], [], there);
    for (const name of names) there.delete(name);
    nowMs += 600_000;
    expect(loads.list().length).toBe(1);
  }
  there.add("new");
  loads.report("a", [stats("new", "eu")], [], there);
  expect(rows(loads)).toEqual([
    ["a", "new", "eu", 1],
    ["a", "stays", "eu", 60],
  ]);
  const text = metrics.text();
  expect(text).toContain('sluice_load_requests_total{gateway_group="a",cluster="new",locality="eu"} 1\n');
  expect(text).not.toContain("round-");
});
