/** From a real Consul to requests: traffic follows the registry on both data planes, and outlives it. */
import { afterAll, beforeAll, expect, test } from "vitest";

import { Consul } from "../support/consul.ts";
import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { ask } from "../support/http.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

let consul: Consul;
let planes: DataPlanes;
const upstreams: Upstream[] = [];

/** Both data planes on one service that is found in Consul. */
const gateway = (group: string, port: number) => `
gatewayGroups:
  - name: ${group}
    listeners:
      - { name: http, protocol: http, address: 127.0.0.1, port: ${port} }
registries:
  - { name: consul, gatewayGroup: ${group}, consul: { addresses: ["${consul.url}"] } }
services:
  - name: orders
    gatewayGroup: ${group}
    hosts: [a.test]
    upstreams:
      - { name: default, discovery: { registry: consul, service: orders, tags: [live] } }
    routes:
      - { name: all, paths: ["/*"] }
`;

async function start(name: string): Promise<Upstream> {
  const upstream = await startUpstream(name);
  upstreams.push(upstream);
  return upstream;
}

const register = (upstream: Upstream, tags = ["live"]) =>
  consul.register({ id: upstream.name, name: "orders", address: "127.0.0.1", port: upstream.port, tags });

/** Which instances answer some requests in a row. */
async function answering(port: number): Promise<string> {
  const names = new Set<string>();
  for (let at = 0; at < 12; at++) {
    const { status, body } = await ask(port, { headers: { host: "a.test" } });
    names.add(status === 200 ? (JSON.parse(body) as Echo).upstream : String(status));
  }
  return [...names].sort().join();
}

const bothAnswer = (names: string) =>
  waitFor(`${names} to answer`, async () => {
    const seen = [await answering(planes.native.port), await answering(planes.envoy.port)];
    if (seen.every((each) => each === names)) return true;
    throw new Error(`native ${seen[0]}, Envoy ${seen[1]}`);
  });

/** States of the registry's services, as operators see them. */
async function states(): Promise<string> {
  const { stdout, stderr } = await planes.control.sluice("discovery", "services");
  return stdout + stderr;
}

beforeAll(async () => {
  consul = await Consul.start();
  const first = await start("one");
  await register(first);
  planes = await startDataPlanes(gateway, "a.test");
});

afterAll(async () => {
  await planes?.stop();
  for (const upstream of upstreams) await upstream.close();
  await consul?.stop();
});

test("instances that come, change their tags and go are followed, and one that fails its check gets nothing", async () => {
  await bothAnswer("one");
  const two = await start("two");
  await register(two);
  await bothAnswer("one,two");
  await register(two, ["canary"]);
  await bothAnswer("one");
  await consul.register({
    ...{ id: "two", name: "orders", address: "127.0.0.1", port: two.port, tags: ["live"], check: "passing" },
  });
  await bothAnswer("one,two");
  await consul.setCheck("two", "critical");
  await bothAnswer("one");
  await consul.deregister("two");
});

test("instances that roll under load cost no request", async () => {
  const loads = [startSteadyLoad(planes.native.port, 4), startSteadyLoad(planes.envoy.port, 4)];
  let old = upstreams[0];
  for (let round = 0; round < 3; round++) {
    const next = await start(`roll-${round}`);
    await register(next);
    await bothAnswer([old?.name ?? "", next.name].sort().join());
    await consul.deregister(old?.name ?? "");
    await bothAnswer(next.name);
    old = next;
  }
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
  expect(Math.min(...loads.map(({ answered }) => answered))).toBeGreaterThan(50);
});

test("a registry that hangs, dies and comes back without its data costs no request, and the state says so", async () => {
  const loads = [startSteadyLoad(planes.native.port, 2), startSteadyLoad(planes.envoy.port, 2)];
  await waitFor("fresh", async () => /orders.*FRESH/.test(await states()));
  consul.signal("SIGSTOP");
  const stoppedMs = performance.now();
  await waitFor("stale", async () => /orders.*STALE[^]*no answer/.test(await states()));
  console.log(`a hanging Consul showed after ${Math.round(performance.now() - stoppedMs)} ms`);
  consul.signal("SIGCONT");
  await waitFor("fresh again", async () => /orders.*FRESH/.test(await states()));
  await consul.kill();
  await waitFor("stale", async () => /orders.*STALE[^]*ECONNREFUSED/.test(await states()));
  await consul.restart();
  await waitFor("held", async () => /orders.*HELD/.test(await states()));
  const last = upstreams.at(-1);
  if (last !== undefined) {
    await bothAnswer(last.name);
    await register(last);
  }
  await waitFor("fresh after all", async () => /orders.*FRESH/.test(await states()));
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
});
