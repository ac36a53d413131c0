/** From a real Nacos to requests: traffic follows the registry on both data planes, and outlives it. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { ask } from "../support/http.ts";
import { NacosApplication } from "../support/nacos-application.ts";
import { Nacos } from "../support/nacos.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

// Nacos needs half a minute to come back.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 900_000 });

const SETTLE_MS = 60_000;
/** Operators are to see an outage within this time. */
const SHOWN_MS = 10_000;

let nacos: Nacos;
let other: Nacos;
let planes: DataPlanes;
const upstreams = new Map<string, Upstream>();
const applications = new Map<string, NacosApplication>();

/** Both data planes on one service that is found in Nacos; two servers, of which the second is there for when the first isn't. */
const gateway = (group: string, port: number) => `
gatewayGroups:
  - name: ${group}
    listeners:
      - { name: http, protocol: http, address: 127.0.0.1, port: ${port} }
registries:
  - name: nacos
    gatewayGroup: ${group}
    nacos:
      addresses: ["${nacos.url}", "${other.url}"]
      username: ${nacos.username}
      password: { value: ${nacos.password} }
services:
  - name: orders
    gatewayGroup: ${group}
    hosts: [a.test]
    upstreams: [{ name: default, discovery: { registry: nacos, service: orders } }]
    routes: [{ name: all, paths: ["/*"] }]
`;

async function upstream(name: string): Promise<Upstream> {
  const found = upstreams.get(name) ?? (await startUpstream(name));
  upstreams.set(name, found);
  return found;
}

/** Registers a back end by this name, or changes what it is; a program of its own each, as Nacos has it. */
async function register(name: string, more: { weight?: number; enabled?: boolean; healthy?: boolean } = {}) {
  const { port } = await upstream(name);
  const application = applications.get(name) ?? (await NacosApplication.start(nacos));
  applications.set(name, application);
  await application.register("orders", "127.0.0.1", { port, ...more });
}

async function leave(name: string): Promise<void> {
  await applications.get(name)?.close();
  applications.delete(name);
}

/** How often each instance answers some requests in a row. */
async function shares(port: number, requests = 12): Promise<Map<string, number>> {
  const seen = new Map<string, number>();
  for (let at = 0; at < requests; at++) {
    const { status, body } = await ask(port, { headers: { host: "a.test" } });
    const name = status === 200 ? (JSON.parse(body) as Echo).upstream : String(status);
    seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  return seen;
}

const bothAnswer = (names: string) =>
  waitFor(
    `${names} to answer`,
    async () => {
      const ports = [planes.native.port, planes.envoy.port];
      const seen = await Promise.all(ports.map(async (port) => [...(await shares(port)).keys()].sort().join()));
      if (seen.every((each) => each === names)) return true;
      throw new Error(`native ${seen[0]}, Envoy ${seen[1]}`);
    },
    SETTLE_MS,
  );

/** Waits until operators see this of the service. */
const shown = (state: RegExp, timeoutMs = SETTLE_MS) =>
  waitFor(
    `${state.source} to be shown`,
    async () => {
      const { stdout, stderr } = await planes.control.sluice("discovery", "services");
      if (state.test(stdout)) return true;
      throw new Error(stdout + stderr);
    },
    timeoutMs,
  );

beforeAll(async () => {
  [nacos, other] = await Promise.all([Nacos.start(3), Nacos.start(3)]);
  await register("one");
  planes = await startDataPlanes(gateway, "a.test");
});

afterAll(async () => {
  await planes?.stop();
  for (const application of applications.values()) await application.close();
  for (const each of upstreams.values()) await each.close();
  await nacos?.stop();
  await other?.stop();
});

test("instances that come, change and go are followed", async () => {
  await bothAnswer("one");
  await register("two");
  await bothAnswer("one,two");
  await register("two", { weight: 3 });
  await waitFor(
    "the weights to be heeded",
    async () => {
      for (const port of [planes.native.port, planes.envoy.port]) {
        const seen = await shares(port, 200);
        const share = (seen.get("two") ?? 0) / 200;
        if (Math.abs(share - 0.75) > 0.05) throw new Error(`two has ${share} on ${port}`);
      }
      return true;
    },
    SETTLE_MS,
  );
  await register("two", { weight: 0 });
  await bothAnswer("one");
  await register("two");
  await bothAnswer("one,two");
  await register("two", { enabled: false });
  await bothAnswer("one");
  await register("two");
  await bothAnswer("one,two");
  await register("two", { healthy: false });
  await bothAnswer("one");
  await leave("two");
});

test("below the protection threshold all instances get traffic, as Nacos has it; above it the healthy ones", async () => {
  await bothAnswer("one");
  await nacos.protect("orders", 0.8);
  await register("two", { healthy: false });
  await bothAnswer("one,two");
  await nacos.protect("orders", 0.4);
  // What is set for a service is told with the next change of an instance.
  await register("two", { healthy: false, weight: 2 });
  await bothAnswer("one");
  await nacos.protect("orders", 0);
  await leave("two");
});

test("instances that roll and flap under load cost no request", async () => {
  const loads = [startSteadyLoad(planes.native.port, 4), startSteadyLoad(planes.envoy.port, 4)];
  let old = "one";
  for (let round = 0; round < 3; round++) {
    const next = `roll-${round}`;
    await register(next);
    await bothAnswer([old, next].sort().join());
    await leave(old);
    await bothAnswer(next);
    old = next;
  }
  for (let flap = 0; flap < 6; flap++) {
    await register("flap");
    await leave("flap");
  }
  await register("one");
  await bothAnswer(`one,${old}`);
  await leave(old);
  await bothAnswer("one");
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
  expect(Math.min(...loads.map(({ answered }) => answered))).toBeGreaterThan(50);
});

test("a server that hangs is left for the next one under load; when both are gone, what was known is served", async () => {
  // The other one is to know of it as well, as in a cluster.
  const { port } = await upstream("one");
  await other.register("orders", { ip: "127.0.0.1", port });
  const loads = [startSteadyLoad(planes.native.port, 2), startSteadyLoad(planes.envoy.port, 2)];
  await shown(/orders.*FRESH/);
  nacos.signal("SIGSTOP");
  await shown(/orders.*STALE/, SHOWN_MS);
  await shown(/orders.*FRESH/);
  const { port: added } = await upstream("added");
  await other.register("orders", { ip: "127.0.0.1", port: added });
  await bothAnswer("added,one");
  nacos.signal("SIGCONT");
  await other.deregister("orders", { ip: "127.0.0.1", port: added });
  await bothAnswer("one");

  await other.kill();
  await nacos.kill({ lose: true });
  await shown(/orders.*STALE/, SHOWN_MS);
  await bothAnswer("one");
  for (const name of [...applications.keys()]) await leave(name);
  await nacos.restart();
  await shown(/orders.*HELD/);
  await bothAnswer("one");
  await register("one");
  await shown(/orders.*FRESH/);
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
});

test("wrong credentials are shown as a denial, without them, and cost no request", async () => {
  const load = startSteadyLoad(planes.native.port, 2);
  const text = gateway("default", planes.native.port).replace(nacos.password, "no-such-password");
  await planes.apply(text);
  await shown(/PERMISSION DENIED[^]*login as nacos/);
  await bothAnswer("one");
  await planes.apply(gateway("default", planes.native.port));
  await shown(/default.*orders.*FRESH/);
  await load.stop();
  expect(load.failures).toEqual([]);
  const printed = planes.control.program.stdout + planes.control.program.stderr;
  expect(printed).not.toContain("no-such-password");
  expect(printed).not.toContain(nacos.password);
});
