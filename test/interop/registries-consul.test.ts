/** From a real Consul to requests: traffic follows the registry on both data planes, and outlives it. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Consul } from "../support/consul.ts";
import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { bothAnswer, shown } from "../support/planes-traffic.ts";
import { temporaryDir } from "../support/gateway.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

let consul: Consul;
let planes: DataPlanes;
const upstreams: Upstream[] = [];

/** Both data planes on one service that is found in Consul. */
const gateway = (group: string, port: number, registry = `addresses: ["${consul.url}"]`) => `
gatewayGroups:
  - name: ${group}
    listeners:
      - { name: http, protocol: http, address: 127.0.0.1, port: ${port} }
registries:
  - { name: consul, gatewayGroup: ${group}, consul: { ${registry} } }
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
  await bothAnswer(planes, "one");
  const two = await start("two");
  await register(two);
  await bothAnswer(planes, "one,two");
  await register(two, ["canary"]);
  await bothAnswer(planes, "one");
  await consul.register({
    ...{ id: "two", name: "orders", address: "127.0.0.1", port: two.port, tags: ["live"], check: "passing" },
  });
  await bothAnswer(planes, "one,two");
  await consul.setCheck("two", "critical");
  await bothAnswer(planes, "one");
  await consul.deregister("two");
});

test("instances that roll under load cost no request", async () => {
  const loads = [startSteadyLoad(planes.native.port, 4), startSteadyLoad(planes.envoy.port, 4)];
  let old = upstreams[0];
  for (let round = 0; round < 3; round++) {
    const next = await start(`roll-${round}`);
    await register(next);
    await bothAnswer(planes, [old?.name ?? "", next.name].sort().join());
    await consul.deregister(old?.name ?? "");
    await bothAnswer(planes, next.name);
    old = next;
  }
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
  expect(Math.min(...loads.map(({ answered }) => answered))).toBeGreaterThan(50);
});

test("a registry that hangs, dies and comes back without its data costs no request, and the state says so", async () => {
  const loads = [startSteadyLoad(planes.native.port, 2), startSteadyLoad(planes.envoy.port, 2)];
  await shown(planes, "FRESH");
  consul.signal("SIGSTOP");
  const hungMs = await shown(planes, "STALE", { words: /no answer/ });
  console.log(`a hanging Consul showed after ${Math.round(hungMs)} ms`);
  consul.signal("SIGCONT");
  await shown(planes, "FRESH");
  await consul.kill();
  await shown(planes, "STALE", { words: /ECONNREFUSED/ });
  await consul.restart();
  await shown(planes, "HELD");
  const last = upstreams.at(-1);
  if (last !== undefined) {
    await bothAnswer(planes, last.name);
    await register(last);
  }
  await shown(planes, "FRESH");
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
});

test("a token without rights is shown as denied and costs no request, and all goes on with another", async () => {
  await using stack = new AsyncDisposableStack();
  const guarded = await Consul.start({ acl: true });
  stack.defer(() => guarded.stop());
  const dir = await temporaryDir();
  stack.defer(() => dir.remove());
  const file = join(dir.path, "token");
  const rules = (service: string) => `service "${service}" { policy = "read" } node_prefix "" { policy = "read" }`;
  const [good, powerless] = [await guarded.token(rules("orders")), await guarded.token(rules("others"))];
  const add = ({ name, port }: Upstream) =>
    guarded.register({ id: name, name: "orders", address: "127.0.0.1", port, tags: ["live"] });
  const [one, two] = [await start("guarded-one"), await start("guarded-two")];
  await add(one);
  await writeFile(file, good);
  const registry = `addresses: ["${guarded.url}"], token: { file: ${file} }`;
  await planes.apply(gateway("default", planes.native.port, registry));
  await planes.apply(gateway("envoy", planes.envoy.port, registry));
  await bothAnswer(planes, "guarded-one");
  await shown(planes, "FRESH");

  const loads = [startSteadyLoad(planes.native.port, 2), startSteadyLoad(planes.envoy.port, 2)];
  await writeFile(file, powerless);
  await shown(planes, "PERMISSION DENIED", { words: /lacks service:read on "orders"/ });
  await bothAnswer(planes, "guarded-one");
  await add(two);
  await writeFile(file, good);
  await shown(planes, "FRESH");
  await bothAnswer(planes, "guarded-one,guarded-two");
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
});
