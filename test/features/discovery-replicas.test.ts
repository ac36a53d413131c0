/** Two control planes on one PostgreSQL: one watches, both serve the same, and whoever is left takes over. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { WatchState } from "#sluice/admin/v1/discovery_service_pb.ts";

import { DiscoveryRig } from "../support/discovery-rig.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";
import { ScriptedConsul } from "../support/scripted-consul.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { waitFor } from "../support/wait.ts";

let postgres: TestPostgres;
const cleanups: AsyncDisposable[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
});

afterEach(async () => {
  for (const each of cleanups.splice(0).reverse()) await each[Symbol.asyncDispose]();
});

afterAll(async () => {
  await postgres?.stop();
});

/** Two replicas, each with a proxy; those are of two groups, since they can't share a port on one machine. */
async function start() {
  const url = await postgres.createDatabase();
  const consul = await ScriptedConsul.start();
  cleanups.push(consul);
  const one = await DiscoveryRig.start({ controlArgs: ["--store", url] });
  cleanups.push(one);
  const two = await DiscoveryRig.start({ controlArgs: ["--store", url], group: "second" });
  cleanups.push(two);
  const gateway = (group: string, address: string) => `
registries:
  - { name: consul, gatewayGroup: ${group}, consul: { addresses: ["${address}"] } }
services:
  - name: orders
    gatewayGroup: ${group}
    hosts: [a.test]
    upstreams: [{ name: default, discovery: { registry: consul, service: orders } }]
    routes: [{ name: all, paths: ["/*"] }]
`;
  /** Every service has these back ends from now on. */
  const set = async (...names: string[]) => {
    const upstreams = await Promise.all(names.map((name) => one.upstream(name)));
    consul.set(upstreams.map(({ name, port }) => ({ id: name, port })));
  };
  await set("x");
  await one.apply(gateway("default", consul.url));
  await two.apply(gateway("second", consul.url));
  const both = async (names: string) => {
    await one.answers(names);
    await two.answers(names);
  };
  await both("x");
  await agree(one, two);
  return { one, two, consul, set, both };
}

/** Who watches each registry, as a replica sees it. */
async function watchers(rig: DiscoveryRig): Promise<string[]> {
  const { registries } = await (await rig.discovery()).listWatchedRegistries({});
  return registries.map(({ watcher }) => watcher);
}

/** Waits until both know who watches, and know it alike: whoever follows learns it from rows that are renewed every second. */
const agree = (one: DiscoveryRig, other: DiscoveryRig) =>
  waitFor("both to know who watches", async () => {
    const [here, there] = [await watchers(one), await watchers(other)];
    if (!here.includes("") && here.join() === there.join()) return true;
    throw new Error(`${here.join()}; ${there.join()}`);
  });

test("each registry is watched once, all replicas serve what it says, and see how it is", async () => {
  const { one, two, consul, set, both } = await start();
  // Two registry objects (one for each group), each with one service.
  await waitFor("one watch for each registry", () => consul.waiting.size === 2);
  await agree(one, two);
  await set("x", "y");
  await both("x,y");
  await waitFor("one watch for each registry still", () => consul.waiting.size === 2);
  for (const rig of [one, two]) {
    for (const group of ["default", "second"]) {
      await rig.state("orders", WatchState.FRESH, group, 2);
    }
  }
  await consul[Symbol.asyncDispose]();
  for (const rig of [one, two]) await rig.state("orders", WatchState.STALE, "default");
  await both("x,y");
});

test.each(["SIGKILL", "SIGTERM"] as const)(
  "when whoever watches ends by %s, the other takes over, and no request is lost",
  async (signal) => {
    const { one, two, consul, set, both } = await start();
    const [holder = ""] = await watchers(one);
    const [watching, other] = holder.includes(`-${one.control.program.pid}-`) ? [one, two] : [two, one];
    const loads = [startSteadyLoad(one.port, 2), startSteadyLoad(two.port, 2)];
    await watching.control.program.stop(signal);
    const endedMs = performance.now();
    await waitFor("the other to watch everything", async () => {
      const now = new Set(await watchers(other));
      return now.size === 1 && !now.has(holder) && !now.has("");
    });
    console.log(`${signal}: the other watches everything after ${Math.round(performance.now() - endedMs)} ms`);
    await set("x", "y");
    await other.answers("x,y");
    for (const group of ["default", "second"]) {
      await other.state("orders", WatchState.FRESH, group, 2);
    }

    await watching.restart();
    await set("y");
    await both("y");
    await waitFor("one watch for each registry", () => consul.waiting.size === 2);
    await Promise.all(loads.map((load) => load.stop()));
    expect(loads.flatMap(({ failures }) => failures)).toEqual([]);
  },
);

test("a replica that stands still loses its registries, and goes on as one that follows when it wakes", async () => {
  const { one, two, consul, set, both } = await start();
  const [holder = ""] = await watchers(one);
  const [stopped, other] = holder.includes(`-${one.control.program.pid}-`) ? [one, two] : [two, one];
  const loads = [startSteadyLoad(one.port, 2), startSteadyLoad(two.port, 2)];
  const pid = stopped.control.program.pid;
  process.kill(pid, "SIGSTOP");
  try {
    await waitFor("the other to watch everything", async () => {
      const now = new Set(await watchers(other));
      return now.size === 1 && !now.has(holder) && !now.has("");
    });
    await set("x", "y");
    await other.answers("x,y");
  } finally {
    process.kill(pid, "SIGCONT");
  }
  // It wakes believing that it watches: what it finds until it knows better must not undo what its successor found.
  await both("x,y");
  await agree(stopped, other);
  await waitFor("one watch for each registry", () => consul.waiting.size === 2);
  expect(await watchers(other)).not.toContain(holder);
  await set("y");
  await both("y");
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.flatMap(({ failures }) => failures)).toEqual([]);
});

test("what is wrong with one service shows on every replica: a denial, and an emptiness that is doubted", async () => {
  const { one, two, consul, both } = await start();
  const [x] = [await one.upstream("x")];
  const everywhere = async (state: WatchState, message: RegExp) => {
    for (const rig of [one, two]) {
      const { problem, usableCount } = await rig.state("orders", state, "default", 1);
      expect(problem?.message).toMatch(message);
      expect(usableCount).toBe(1);
    }
  };
  consul.denied.add("orders");
  consul.setService("orders", [{ id: "x", port: x.port }]);
  await everywhere(WatchState.PERMISSION_DENIED, /service:read/);
  // Right after an outage of the service's watch.
  consul.setService("orders", []);
  consul.denied.delete("orders");
  await everywhere(WatchState.HELD, /knows no such service/);
  await both("x");
  consul.setService("orders", [{ id: "x", port: x.port }]);
  for (const rig of [one, two]) await rig.state("orders", WatchState.FRESH, "default");
});

test("a replica that starts while the registry is away serves what the others serve", async () => {
  const { one, two, consul, set, both } = await start();
  await set("x", "y");
  await both("x,y");
  // Whoever follows shows what is written for all: what only its watcher knows would go with that one.
  for (const rig of [one, two]) {
    const client = await rig.discovery();
    await waitFor(
      "both endpoints to be written for both groups",
      async () => {
        const { services } = await client.listWatchedServices({ service: "orders" });
        return services.length === 2 && services.every(({ endpointCount }) => endpointCount === 2);
      },
      60_000,
    );
  }
  await consul[Symbol.asyncDispose]();
  // Nothing of its own: another machine.
  await two.kill();
  await two.restart({ emptyData: true });
  await two.state("orders", WatchState.STALE, "second", 2);
  await both("x,y");
  await one.state("orders", WatchState.STALE, "default", 2);
});
