/** From a real Nacos to requests: traffic follows the registry on both data planes, and outlives it. */
import { afterAll, beforeAll, expect, test } from "vitest";

import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { NacosApplication } from "../support/nacos-application.ts";
import { Nacos } from "../support/nacos.ts";
import { bothAnswer, sharesOn, shown } from "../support/planes-traffic.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const SETTLE_MS = 60_000;

let nacos: Nacos;
let other: Nacos;
let planes: DataPlanes;
const upstreams = new Map<string, Upstream>();
const applications = new Map<string, NacosApplication>();

/**
 * Both data planes on one service that is found in Nacos. Its second server, which is there for when the first isn't, knows nothing of the first: it is not named
 * where no server is meant to be away, since a machine that stands still is enough for us to go over to the next.
 */
const gateway = (group: string, port: number, servers: readonly Nacos[] = [nacos]) => `
gatewayGroups:
  - name: ${group}
    listeners:
      - { name: http, protocol: http, address: 127.0.0.1, port: ${port} }
registries:
  - name: nacos
    gatewayGroup: ${group}
    nacos:
      addresses: [${servers.map(({ url }) => `"${url}"`).join(", ")}]
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
  await bothAnswer(planes, "one");
  await register("two");
  await bothAnswer(planes, "one,two");
  await register("two", { weight: 3 });
  await waitFor(
    "the weights to be heeded",
    async () => {
      for (const port of [planes.native.port, planes.envoy.port]) {
        const seen = await sharesOn(port, { requests: 200 });
        const share = (seen.get("two") ?? 0) / 200;
        if (Math.abs(share - 0.75) > 0.05) throw new Error(`two has ${share} on ${port}`);
      }
      return true;
    },
    SETTLE_MS,
  );
  await register("two", { weight: 0 });
  await bothAnswer(planes, "one");
  await register("two");
  await bothAnswer(planes, "one,two");
  await register("two", { enabled: false });
  await bothAnswer(planes, "one");
  await register("two");
  await bothAnswer(planes, "one,two");
  await register("two", { healthy: false });
  await bothAnswer(planes, "one");
  await leave("two");
});

test("below the protection threshold all instances get traffic, as Nacos has it; above it the healthy ones", async () => {
  await bothAnswer(planes, "one");
  await nacos.protect("orders", 0.8);
  await register("two", { healthy: false });
  await bothAnswer(planes, "one,two");
  await nacos.protect("orders", 0.4);
  // What is set for a service is told with the next change of an instance.
  await register("two", { healthy: false, weight: 2 });
  await bothAnswer(planes, "one");
  await nacos.protect("orders", 0);
  await leave("two");
});

test("instances that roll and flap under load cost no request", async () => {
  const loads = [startSteadyLoad(planes.native.port, 4), startSteadyLoad(planes.envoy.port, 4)];
  let old = "one";
  for (let round = 0; round < 3; round++) {
    const next = `roll-${round}`;
    await register(next);
    await bothAnswer(planes, [old, next].sort().join());
    await leave(old);
    await bothAnswer(planes, next);
    old = next;
  }
  for (let flap = 0; flap < 6; flap++) {
    await register("flap");
    await leave("flap");
  }
  await register("one");
  await bothAnswer(planes, `one,${old}`);
  await leave(old);
  await bothAnswer(planes, "one");
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
  expect(Math.min(...loads.map(({ answered }) => answered))).toBeGreaterThan(50);
});

test("a server that hangs is left for the next one under load; when both are gone, what was known is served", async () => {
  // The other one is to know of it as well, as in a cluster.
  const { port } = await upstream("one");
  await other.register("orders", { ip: "127.0.0.1", port });
  await planes.apply(gateway("default", planes.native.port, [nacos, other]));
  await planes.apply(gateway("envoy", planes.envoy.port, [nacos, other]));
  const loads = [startSteadyLoad(planes.native.port, 2), startSteadyLoad(planes.envoy.port, 2)];
  await shown(planes, "FRESH");
  nacos.signal("SIGSTOP");
  // They are stale until the next server has answered, which may be over before anybody looks; what that one alone knows shows that it has.
  const { port: added } = await upstream("added");
  await other.register("orders", { ip: "127.0.0.1", port: added });
  await bothAnswer(planes, "added,one");
  await shown(planes, "FRESH");
  nacos.signal("SIGCONT");
  await other.deregister("orders", { ip: "127.0.0.1", port: added });
  await bothAnswer(planes, "one");

  await other.kill();
  await nacos.kill({ lose: true });
  await shown(planes, "STALE");
  await bothAnswer(planes, "one");
  for (const name of [...applications.keys()]) await leave(name);
  await nacos.restart();
  await shown(planes, "HELD");
  await bothAnswer(planes, "one");
  await register("one");
  await shown(planes, "FRESH");
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
});

test("wrong credentials are shown as a denial, without them, and cost no request", async () => {
  const load = startSteadyLoad(planes.native.port, 2);
  const text = gateway("default", planes.native.port).replace(nacos.password, "no-such-password");
  await planes.apply(text);
  await shown(planes, "PERMISSION DENIED", { services: 1, words: /login as nacos/ });
  await bothAnswer(planes, "one");
  await planes.apply(gateway("default", planes.native.port));
  await shown(planes, "FRESH");
  await load.stop();
  expect(load.failures).toEqual([]);
  const printed = planes.control.program.stdout + planes.control.program.stderr;
  expect(printed).not.toContain("no-such-password");
  expect(printed).not.toContain(nacos.password);
});
