/** Instances report to any of several control planes on one PostgreSQL; what becomes of one of them costs nobody a request. */
import { setTimeout as sleep } from "node:timers/promises";

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";

import { WatchState } from "#sluice/admin/v1/discovery_service_pb.ts";

import { DiscoveryRig } from "../support/discovery-rig.ts";
import { startPostgres } from "../support/postgres.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { waitFor } from "../support/wait.ts";

/** Longer than a machine stands still now and then; tests have to outlast it. */
const TTL_MS = 8_000;

const cleanup = new AsyncDisposableStack();
let url: string;
let one: DiscoveryRig;
let two: DiscoveryRig;

beforeAll(async () => {
  const postgres = await startPostgres();
  cleanup.defer(() => postgres.stop());
  url = await postgres.createDatabase();
  one = cleanup.use(await DiscoveryRig.start({ controlArgs: ["--store", url] }));
  two = cleanup.use(await DiscoveryRig.start({ controlArgs: ["--store", url], group: "second" }));
  // Two data planes can't share a port on one machine: they are of two groups, of which each has the registry's name.
  for (const [rig, gatewayGroup] of [
    [one, "default"],
    [two, "second"],
  ] as const) {
    await rig.apply(`
registries: [{ name: own, gatewayGroup: ${gatewayGroup}, leases: {} }]
services:
  - name: orders
    gatewayGroup: ${gatewayGroup}
    hosts: [a.test]
    upstreams: [{ name: default, discovery: { registry: own, service: orders } }]
    routes: [{ name: all, paths: ["/*"] }]
`);
  }
  // A replica takes reports for the other's registry once it has read of it.
  for (const rig of [one, two]) {
    const leases = await rig.leases();
    await waitFor("a replica to know both registries", async () => {
      for (const gatewayGroup of ["default", "second"]) {
        await leases.heartbeat({ gatewayGroup, registry: "own", instances: [name("nobody")] });
      }
      return true;
    });
  }
});

afterAll(() => cleanup.disposeAsync());

const name = (id: string) => ({ service: { service: "orders" }, id });

/** Reports an instance to one control plane, for the data planes of both. */
async function report(to: DiscoveryRig, id: string, ttlMs = 600_000): Promise<void> {
  const { port } = await one.upstream(id);
  const leases = await to.leases();
  for (const gatewayGroup of ["default", "second"]) {
    const instances = [{ name: name(id), endpoint: { address: "127.0.0.1", port }, ttl: durationFromMs(ttlMs) }];
    await leases.report({ gatewayGroup, registry: "own", instances });
  }
}

const both = async (names: string) => {
  await one.answers(names);
  await two.answers(names);
};

/** Says again and again that an instance lives, to one replica, until it is disposed of. */
async function keepAlive(to: DiscoveryRig, id: string) {
  const leases = await to.leases();
  let stopped = false;
  let unknownCount = 0;
  let beats = 0;
  let failure: unknown;
  const running = (async () => {
    while (!stopped) {
      for (const gatewayGroup of ["default", "second"]) {
        const { unknown } = await leases.heartbeat({ gatewayGroup, registry: "own", instances: [name(id)] });
        unknownCount += unknown.length;
      }
      beats++;
      await sleep(200);
    }
  })();
  running.catch((error: unknown) => (failure = error));
  return {
    /** As long as what isn't heard of would have lived, and longer. */
    outlive: async () => {
      const end = performance.now() + TTL_MS + 3_000;
      const before = beats;
      while (failure === undefined && (performance.now() < end || beats < before + 3)) await sleep(100);
    },
    /** How often it was told that the instance is unknown. */
    get unknownCount() {
      if (failure !== undefined) throw failure;
      return unknownCount;
    },
    async [Symbol.asyncDispose]() {
      stopped = true;
      await running.catch(() => undefined);
    },
  };
}

test("what is reported to one replica is served by all, and any of them takes the heartbeats, also when one has ended", async () => {
  await report(one, "x");
  await report(two, "y");
  await both("x,y");
  // As many as don't keep step with the endpoints: in turns, each of three would always meet the same one of three.
  const loads = [startSteadyLoad(one.port, 4), startSteadyLoad(two.port, 4)];
  await report(one, "short", TTL_MS);
  // The other one must have read it before it can hear of it.
  await waitFor("the other to know of it", async () => {
    const leases = await two.leases();
    const { unknown } = await leases.heartbeat({ gatewayGroup: "second", registry: "own", instances: [name("short")] });
    return unknown.length === 0;
  });
  {
    await using heard = await keepAlive(two, "short");
    await both("short,x,y");
    await one.kill();
    await heard.outlive();
    await two.answers("short,x,y");
    await report(two, "z");
    await two.answers("short,x,y,z");
    expect(heard.unknownCount).toBe(0);
  }
  // Nobody says any more that it lives.
  await two.answers("x,y,z");
  await one.restart();
  await both("x,y,z");
  for (const rig of [one, two]) {
    await rig.state("orders", WatchState.FRESH, "default", 3);
  }
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.flatMap(({ failures }) => failures)).toEqual([]);
});

test("a replica that stands still hears nobody meanwhile, and ends nothing of what the others heard when it wakes", async () => {
  const pid = one.control.program.pid;
  await report(two, "kept", TTL_MS);
  await using heard = await keepAlive(two, "kept");
  await both("kept,x,y,z");
  process.kill(pid, "SIGSTOP");
  try {
    await heard.outlive();
  } finally {
    process.kill(pid, "SIGCONT");
  }
  for (let at = 0; at < 5; at++) expect([...(await one.shares()).keys()].sort().join()).toBe("kept,x,y,z");
  expect(heard.unknownCount).toBe(0);
  await (await one.leases()).leave({ gatewayGroup: "second", registry: "own", instances: [name("z")] });
  await two.answers("kept,x,y");
});

test("what is reported while the database hangs is told to be no more than in effect, and is kept later", async () => {
  await (await one.leases()).leave({ gatewayGroup: "default", registry: "own", instances: [name("kept")] });
  const blocker = new Client({ connectionString: url });
  await blocker.connect();
  try {
    await blocker.query("begin");
    await blocker.query("lock table sluice_leases in access exclusive mode");
    await expect(report(one, "late")).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: "it holds, but would not outlive the control plane: no answer within 5 s; repeat it",
    });
    await one.answers("late,x,y,z");
  } finally {
    await blocker.end();
  }
  await report(one, "late");
  await one.kill();
  await one.restart();
  await one.answers("late,x,y,z");
});
