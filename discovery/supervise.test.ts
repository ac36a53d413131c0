import { getEventListeners } from "node:events";
import { setImmediate } from "node:timers";

import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { EndpointHealth, type ServiceSnapshot, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { canonical } from "./canonical.ts";
import { DiscoveryError } from "./source.ts";
import { RegistrySupervisor } from "./supervise.ts";
import { ScriptedSource, serviceKey, snapshotOf } from "./testing/scripted-source.ts";

const HOLD_MS = 60_000;
const cleanups: (() => Promise<void>)[] = [];

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  vi.useRealTimers();
});

/** Lets everything happen that needs no time, but perhaps another round of the event loop (turns.ts). */
async function settle(): Promise<void> {
  await vi.advanceTimersByTimeAsync(0);
  for (let round = 0; round < 2; round++) await new Promise((resolve) => setImmediate(resolve));
  await vi.advanceTimersByTimeAsync(0);
}

async function start(restored?: ServiceSnapshot) {
  const source = new ScriptedSource();
  const changes: string[][] = [];
  const supervisor = new RegistrySupervisor({
    ...{ source, holdEmptyMs: HOLD_MS },
    events: { changed: (_, served) => changes.push(served.decode().endpoints.map(({ address }) => address)) },
  });
  cleanups.push(() => supervisor.close());
  const key = serviceKey("orders");
  let answered = false;
  void supervisor.add(key, restored && canonical(restored)).then(() => (answered = true));
  await settle();
  const say = async (addresses: readonly string[], more: Partial<ServiceSnapshot> = {}) => {
    source.say("orders", { snapshot: snapshotOf("orders", addresses, more) });
    await settle();
  };
  const fail = async (error: unknown) => {
    source.say("orders", { error });
    await settle();
  };
  const report = () => {
    const found = supervisor.report(key);
    if (found === undefined) throw new Error("orders is not watched");
    return { ...found, snapshot: found.served?.decode() };
  };
  return { source, supervisor, changes, say, fail, report, answered: () => answered };
}

const unreachable = () => new DiscoveryError("unreachable", "consul: connect ECONNREFUSED");

test("a watch is waiting, then fresh; what the registry takes away in the normal course is gone at once", async () => {
  const { say, changes, report, answered } = await start();
  expect([report().state, answered()]).toEqual(["waiting", false]);
  await say(["10.0.0.2", "10.0.0.1"]);
  expect([report().state, answered()]).toEqual(["fresh", true]);
  await say([]);
  expect(report().state).toBe("fresh");
  expect(changes).toEqual([["10.0.0.1", "10.0.0.2"], []]);
});

test("what failed is asked again at once when the source sees that it may be mended, and what didn't is left alone", async () => {
  const { source, supervisor, say, fail, report } = await start();
  void supervisor.add(serviceKey("carts"));
  source.say("carts", { snapshot: snapshotOf("carts", ["10.0.0.9"]) });
  await fail(new DiscoveryError("bad_answer", "services.yaml:1:12: a bracket is missing"));
  expect(report().problem?.message).toContain("a bracket is missing");
  source.mended();
  await say(["10.0.0.1"]);
  expect(report().state).toBe("fresh");
  expect(Object.fromEntries(source.begun)).toMatchObject({ carts: 1 });
});

test("the same in another order is no change, but a sign of life", async () => {
  const { say, changes, report } = await start();
  await say(["10.0.0.2", "10.0.0.1"]);
  await vi.advanceTimersByTimeAsync(5_000);
  await say(["10.0.0.1", "10.0.0.2", "10.0.0.1"], { revision: "8" });
  expect(changes).toHaveLength(1);
  expect(report()).toMatchObject({ lastEventMs: Date.now(), lastChangeMs: Date.now() - 5_000 });
});

test("an outage keeps the last good endpoints, says why, and is over with the next answer", async () => {
  const { source, say, fail, changes, report } = await start();
  await say(["10.0.0.1"]);
  await fail(unreachable());
  expect(report()).toMatchObject({
    state: "stale",
    problem: { kind: "unreachable", message: "consul: connect ECONNREFUSED", times: 1 },
    snapshot: { endpoints: [{ address: "10.0.0.1" }] },
  });
  expect(source.open).toBe(0);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(source.open).toBe(1);
  await say(["10.0.0.2"]);
  expect(report()).toMatchObject({ state: "fresh", problem: undefined });
  expect(changes).toEqual([["10.0.0.1"], ["10.0.0.2"]]);
});

test("retries wait longer and longer, up to 8 s, and never less than 50 ms", async () => {
  const { source, fail, report } = await start();
  const seen: number[] = [];
  for (let at = 0; at < 12; at++) {
    const begun = source.begun.get("orders") ?? 0;
    await fail(unreachable());
    const failedMs = Date.now();
    while (source.begun.get("orders") === begun) await vi.advanceTimersByTimeAsync(10);
    seen.push(Date.now() - failedMs);
  }
  expect(Math.min(...seen)).toBeGreaterThanOrEqual(50);
  expect(Math.max(...seen)).toBeLessThanOrEqual(8_010);
  expect(report()).toMatchObject({ state: "failing", problem: { times: 12 } });
});

test("nothing right after an outage is held, shown, and believed when the time is over", async () => {
  const { say, fail, changes, report } = await start();
  await say(["10.0.0.1"]);
  await fail(unreachable());
  await vi.advanceTimersByTimeAsync(1_000);
  await say([]);
  expect(report()).toMatchObject({
    state: "held",
    held: { reason: "the registry has no instances right after it was connected to again" },
    snapshot: { endpoints: [{ address: "10.0.0.1" }] },
  });
  await say([]);
  await vi.advanceTimersByTimeAsync(HOLD_MS - 1);
  expect(changes).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(changes).toEqual([["10.0.0.1"], []]);
  expect(report().state).toBe("fresh");
});

test.each([-3_600_000, 3_600_000])(
  "a clock that is set by %i ms neither lengthens nor shortens the doubt of an empty answer",
  async (setMs) => {
    const { say, fail, changes, report } = await start();
    await say(["10.0.0.1"]);
    await fail(unreachable());
    await vi.advanceTimersByTimeAsync(1_000);
    await say([]);
    vi.setSystemTime(Date.now() + setMs);
    await say([]);
    expect(report().state).toBe("held");
    await vi.advanceTimersByTimeAsync(HOLD_MS - 1);
    expect(changes).toEqual([["10.0.0.1"]]);
    await vi.advanceTimersByTimeAsync(1);
    expect(changes).toEqual([["10.0.0.1"], []]);
  },
);

test("an instance that comes back ends the holding, and then removals are believed again", async () => {
  const { say, fail, changes, report } = await start();
  await say(["10.0.0.1"]);
  await fail(unreachable());
  await vi.advanceTimersByTimeAsync(1_000);
  await say([]);
  await say(["10.0.0.1"]);
  expect(report().state).toBe("fresh");
  await say([]);
  expect(changes).toEqual([["10.0.0.1"], []]);
});

test("a registry that went away while emptiness was held confirms nothing", async () => {
  const { say, fail, changes, report } = await start();
  await say(["10.0.0.1"]);
  await say([], { discontinuous: true });
  expect(report()).toMatchObject({ state: "held", held: { reason: expect.stringContaining("it started anew") } });
  await fail(unreachable());
  await vi.advanceTimersByTimeAsync(2 * HOLD_MS);
  expect(report().state).toBe("stale");
  expect(changes).toHaveLength(1);
});

test("instances that are all unhealthy after a restart are as good as none", async () => {
  const { source, say, changes, report } = await start();
  await say(["10.0.0.1"], { clusterIdentity: "a" });
  const endpoints = [{ address: "10.0.0.1", port: 80, health: EndpointHealth.UNHEALTHY }];
  source.say("orders", { snapshot: create(ServiceSnapshotSchema, { endpoints, clusterIdentity: "b" }) });
  await settle();
  expect(report()).toMatchObject({ state: "held", held: { reason: "the registry is another cluster than before" } });
  expect(changes).toHaveLength(1);
});

test("a registry that hangs shows within 10 s although no watch breaks; after it, silent watches begin anew", async () => {
  const { source, say, report } = await start();
  await say(["10.0.0.1"]);
  source.probeSays = "hang";
  await vi.advanceTimersByTimeAsync(6_000);
  expect(report()).toMatchObject({ state: "stale", problem: { kind: "unreachable", message: "no answer within 3 s" } });
  expect(source.begun.get("orders")).toBe(1);
  source.probeSays = { clusterIdentity: "", version: "test 1" };
  await vi.advanceTimersByTimeAsync(6_000);
  expect(report().state).toBe("fresh");
  expect(source.begun.get("orders")).toBe(2);
});

test("after an outage silent watches begin anew a few at a time, and those that were heard of since not at all", async () => {
  const { source, supervisor } = await start();
  const names = Array.from({ length: 30 }, (_, at) => `s${at}`);
  for (const name of names) void supervisor.add(serviceKey(name));
  await settle();
  for (const name of names) source.say(name, { snapshot: snapshotOf(name, ["10.0.0.1"]) });
  await settle();
  source.probeSays = "hang";
  await vi.advanceTimersByTimeAsync(6_000);
  expect(supervisor.outage).toBeDefined();
  source.probeSays = { clusterIdentity: "", version: "test 1" };
  const again = () => names.filter((name) => (source.begun.get(name) ?? 0) > 1).length;
  const steps = new Set<number>();
  for (let ms = 0; ms < 6_000; ms++) {
    await vi.advanceTimersByTimeAsync(1);
    if (steps.size === 1 && again() > 0) {
      source.say("s29", { snapshot: snapshotOf("s29", ["10.0.0.2"]) });
      await settle();
    }
    steps.add(again());
  }
  // "orders" is the first one, and "s29" would be in a fourth step.
  expect([...steps]).toEqual([0, 9, 19, 29]);
});

test("a denial is shown as one, and takes nothing away", async () => {
  const { say, fail, report } = await start();
  await say(["10.0.0.1"]);
  await fail(new DiscoveryError("permission_denied", "consul: Permission denied: token lacks service:read"));
  expect(report()).toMatchObject({
    state: "permission_denied",
    snapshot: { endpoints: [{ address: "10.0.0.1" }] },
    problem: { message: "consul: Permission denied: token lacks service:read" },
  });
});

test("a service that the registry doesn't know is told apart from one without instances", async () => {
  const { say, report } = await start();
  await say([], { unknownService: true });
  expect(report().state).toBe("unknown_service");
  await say([]);
  expect(report().state).toBe("fresh");
});

test("what an earlier run knew is served as stale until the registry answers, and not lost to its first nothing", async () => {
  const { say, report, answered } = await start(snapshotOf("orders", ["10.0.0.9"]));
  expect(report()).toMatchObject({ state: "stale", snapshot: { endpoints: [{ address: "10.0.0.9" }] } });
  expect(answered()).toBe(false);
  await say([]);
  expect(report()).toMatchObject({ state: "held", snapshot: { endpoints: [{ address: "10.0.0.9" }] } });
  expect(answered()).toBe(true);
});

test("the registry's health has a history of its changes", async () => {
  const { source, supervisor } = await start();
  source.probeSays = unreachable();
  await vi.advanceTimersByTimeAsync(10_000);
  source.probeSays = { clusterIdentity: "c", version: "test 2" };
  await vi.advanceTimersByTimeAsync(3_000);
  expect(supervisor.history.map(({ failure }) => failure?.kind)).toEqual([undefined, "unreachable", undefined]);
  expect([supervisor.version, supervisor.clusterIdentity, supervisor.outage]).toEqual(["test 2", "c", undefined]);
});

test("close ends the watch and gives up the source", async () => {
  const { source, supervisor } = await start();
  await supervisor.close();
  await settle();
  expect([source.open, source.closed]).toEqual([0, true]);
});

test("a probe that is over leaves nothing on its signal, which would keep it and all that hangs on it for ever", async () => {
  const { source, supervisor } = await start();
  await vi.advanceTimersByTimeAsync(10_000);
  source.probeSays = new Error("refused");
  await vi.advanceTimersByTimeAsync(10_000);
  source.probeSays = "hang";
  await vi.advanceTimersByTimeAsync(10_000);
  expect(supervisor.outage).toBeDefined();
  source.probeSays = { clusterIdentity: "", version: "" };
  await vi.advanceTimersByTimeAsync(10_000);
  expect(source.probes.length).toBeGreaterThan(10);
  expect(source.probes.flatMap((signal) => getEventListeners(signal, "abort"))).toEqual([]);
});
