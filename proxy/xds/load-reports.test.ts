/** What a load report says of what was counted (L1). */
import { expect, test } from "vitest";

import { type ClusterLoad, Told } from "./load-reports.ts";

const load = (cluster: string, more: Partial<ClusterLoad> = {}): ClusterLoad => ({
  ...{ cluster, serviceName: "", issued: 0, successful: 0, failed: 0, dropped: 0, inProgress: 0 },
  ...more,
});

/** A report in words: "a 3 issued, 2 successful, 1 failed, 0 dropped, 0 now". */
const told = (told: Told, loads: readonly ClusterLoad[], wanted?: readonly string[]) =>
  told.next(loads, wanted && new Set(wanted), 1_000).map(({ clusterName, upstreamLocalityStats: [stats], ...rest }) => {
    const { totalIssuedRequests, totalSuccessfulRequests, totalErrorRequests, totalRequestsInProgress } = stats ?? {};
    return `${clusterName} ${totalIssuedRequests} issued, ${totalSuccessfulRequests} successful, ${totalErrorRequests} failed, ${rest.totalDroppedRequests} dropped, ${totalRequestsInProgress} now`;
  });

test("L1 each report tells what came since the one before, and nothing of clusters at rest", () => {
  const reports = new Told();
  const first = load("a", { issued: 5, successful: 3, failed: 1, dropped: 2, inProgress: 1 });
  expect(told(reports, [first, load("b")])).toEqual(["a 5 issued, 3 successful, 1 failed, 2 dropped, 1 now"]);
  // Its last request has ended: what is going on is over, which has to be told.
  const ended = { ...first, successful: 4, inProgress: 0 };
  expect(told(reports, [ended])).toEqual(["a 0 issued, 1 successful, 0 failed, 0 dropped, 0 now"]);
  expect(told(reports, [ended])).toEqual([]);
});

test("L1 what a server doesn't ask for stays due until it does; a cluster that goes and comes back begins anew", () => {
  const reports = new Told();
  const a = load("a", { issued: 2, successful: 2 });
  expect(told(reports, [a], ["b"])).toEqual([]);
  expect(told(reports, [a], ["a"])).toEqual(["a 2 issued, 2 successful, 0 failed, 0 dropped, 0 now"]);
  expect(told(reports, [], ["a"])).toEqual([]);
  const anew = { ...a, issued: 3, successful: 3 };
  expect(told(reports, [anew])).toEqual(["a 3 issued, 3 successful, 0 failed, 0 dropped, 0 now"]);
  // Within the time between two reports.
  const again = { ...a, issued: 1, successful: 1 };
  expect(told(reports, [again])).toEqual(["a 1 issued, 1 successful, 0 failed, 0 dropped, 0 now"]);
});
