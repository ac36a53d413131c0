import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { EndpointSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { serviceKey } from "../testing/scripted-source.ts";
import { type Lease, LEASES_MAX } from "./lease.ts";
import { LeaseTable } from "./table.ts";

const place = { gatewayGroup: "default", registry: "own" };
const TTL_MS = 10_000;
let table: LeaseTable;

const lease = (id: string, address = "10.0.0.1"): Lease => ({
  ...{ service: serviceKey("orders"), id, ttlMs: TTL_MS },
  endpoint: create(EndpointSchema, { address, port: 80 }),
});

const ids = () =>
  table
    .instances(place, serviceKey("orders"))
    .map(({ id }) => id)
    .sort();

beforeEach(() => {
  vi.useFakeTimers();
  table = new LeaseTable();
});

afterEach(() => {
  table.close();
  vi.useRealTimers();
});

test("a lease lives for its time after each report and heartbeat", () => {
  table.report(place, [lease("a"), lease("b")]);
  vi.advanceTimersByTime(TTL_MS - 1_000);
  expect(table.renew(place, [lease("a"), lease("x")])).toMatchObject({ known: [{ id: "a" }], unknown: [{ id: "x" }] });
  expect(ids()).toEqual(["a", "b"]);
  vi.advanceTimersByTime(2_000);
  expect(ids()).toEqual(["a"]);
  vi.advanceTimersByTime(TTL_MS);
  expect(ids()).toEqual([]);
  expect(table.services(place)).toEqual([]);
});

test("a control plane that stood still takes that for nobody's silence", () => {
  table.report(place, [lease("a")]);
  vi.advanceTimersByTime(500);
  const now = performance.now();
  // As after SIGSTOP and SIGCONT: the clock has gone on, and no timer ran.
  vi.spyOn(performance, "now").mockImplementation(() => now + 3_600_000);
  vi.advanceTimersToNextTimer();
  expect(ids()).toEqual(["a"]);
  vi.restoreAllMocks();
});

test("watches are woken by what concerns their service only", () => {
  let woken = 0;
  const unwatch = table.watch(place, serviceKey("orders"), () => woken++);
  table.report({ ...place, registry: "other" }, [lease("a")]);
  table.report(place, [{ ...lease("a"), service: serviceKey("carts") }]);
  expect(woken).toBe(0);
  table.report(place, [lease("a")]);
  table.renew(place, [lease("a")]);
  expect(woken).toBe(1);
  table.leave(place, [lease("a"), lease("a")]);
  expect(woken).toBe(2);
  unwatch();
  table.report(place, [lease("a")]);
  expect(woken).toBe(2);
});

test("what has to be kept is told once, and again if it could not be", () => {
  let told = 0;
  table.onChanges(() => told++);
  table.report(place, [lease("a"), lease("b")]);
  table.leave(place, [lease("b")]);
  expect(told).toBe(1);
  const changes = table.takeChanges();
  expect(changes.put.map((each) => each.lease.id)).toEqual(["a"]);
  expect(changes.gone).toHaveLength(1);
  expect(table.takeChanges()).toEqual({ put: [], renewed: [], gone: [] });
  table.putBack(changes);
  expect(table.takeChanges()).toEqual(changes);
  table.renew(place, [lease("a")]);
  expect(table.isUrgent).toBe(false);
  expect(table.takeChanges().renewed).toHaveLength(1);
  table.dropRegistry(place);
  expect(table.takeChanges().gone).toHaveLength(1);
});

test("a report for which there is no room is refused whole; one of what is there isn't", () => {
  const all = Array.from({ length: LEASES_MAX - 1 }, (_, at) => lease(`i${at}`));
  expect(table.report(place, all)).toBe(true);
  expect(table.report(place, [lease("x"), lease("y")])).toBe(false);
  expect(ids()).toHaveLength(LEASES_MAX - 1);
  expect(table.report(place, [lease("i0", "10.0.0.2"), lease("x")])).toBe(true);
});
