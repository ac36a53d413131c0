/** From a real DNS server to requests: traffic follows names and services on both data planes, and outlives the server and its mistakes. */
import { afterAll, beforeAll, expect, test } from "vitest";

import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { Dnsmasq } from "../support/dnsmasq.ts";
import { bothAnswer, sharesOn, shown } from "../support/planes-traffic.ts";
import { freePort } from "../support/ports.ts";
import type { SteadyLoad } from "../support/steady-clients.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

const REQUESTS = 40;

const [ONE, TWO, THREE] = ["127.0.1.1", "127.0.1.2", "127.0.1.3"];
/** Hosts of requests: by the addresses of a name, and by SRV records. */
const BY_NAME = "a.test";
const BY_SERVICE = "srv.test";

let dns: Dnsmasq;
let planes: DataPlanes;
const upstreams: Upstream[] = [];

/** Addresses are all that names have, so that the back ends share a port. */
const port = () => upstreams[0]?.port ?? 0;

const gateway = (group: string, listener: number) => `
gatewayGroups:
  - { name: ${group}, listeners: [{ name: http, protocol: http, address: 127.0.0.1, port: ${listener} }] }
registries:
  - { name: dns, gatewayGroup: ${group}, dns: { resolvers: ["${dns.address}"] } }
services:
  - name: by-name
    gatewayGroup: ${group}
    hosts: [${BY_NAME}]
    upstreams: [{ name: default, discovery: { registry: dns, service: orders.test, port: ${port()} } }]
    routes: [{ name: all, paths: ["/*"] }]
  - name: by-service
    gatewayGroup: ${group}
    hosts: [${BY_SERVICE}]
    upstreams: [{ name: default, discovery: { registry: dns, service: _http._tcp.orders.test } }]
    routes: [{ name: all, paths: ["/*"] }]
`;

/** An SRV record of the service. */
const server = (target: string, weight: number, priority = 1) =>
  `_http._tcp.orders.test,${target},${port()},${priority},${weight}`;

/** What the server knows: addresses of orders.test, and of the targets of SRV records. */
const hosts = (...orders: string[]) => ({ "orders.test": orders, "one.test": [ONE], "two.test": [TWO] });
const both = () => [server("one.test", 1), server("two.test", 3)];

/** Waits until just these back ends answer on both data planes. */
const answer = (host: string, names: string) => bothAnswer(planes, names, { host, requests: REQUESTS });

/** Waits until both services are in this state, in both gateway groups. */
const shows = (state: string) => shown(planes, state, { services: 4 });

/** Load on both data planes and both services. */
const startLoads = (): SteadyLoad[] =>
  [planes.native.port, planes.envoy.port].flatMap((plane) =>
    [BY_NAME, BY_SERVICE].map((host) => startSteadyLoad(plane, 2, () => ({ headers: { host } }), { pauseMs: 5 })),
  );

async function expectNoFailure(loads: readonly SteadyLoad[]): Promise<void> {
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.flatMap(({ failures }) => failures)).toEqual([]);
  expect(Math.min(...loads.map(({ answered }) => answered))).toBeGreaterThan(20);
}

beforeAll(async () => {
  upstreams.push(await startUpstream("one", await freePort(), ONE));
  upstreams.push(await startUpstream("two", port(), TWO), await startUpstream("three", port(), THREE));
  dns = await Dnsmasq.start({ hosts: hosts(ONE), services: both() });
  planes = await startDataPlanes(gateway, BY_NAME);
});

afterAll(async () => {
  await planes?.stop();
  for (const upstream of upstreams) await upstream.close();
  await dns?.stop();
});

test("addresses that come, change and go are followed under load, and services with their weights and priorities", async () => {
  await answer(BY_SERVICE, "one,two");
  for (const plane of [planes.native.port, planes.envoy.port]) {
    const shares = await sharesOn(plane, { host: BY_SERVICE, requests: REQUESTS });
    expect(Math.abs((shares.get("two") ?? 0) - 30), `of ${REQUESTS} on ${plane}`).toBeLessThanOrEqual(2);
  }
  const loads = startLoads();
  await answer(BY_NAME, "one");
  await dns.set(hosts(ONE, TWO));
  await answer(BY_NAME, "one,two");
  await dns.set(hosts(THREE, TWO));
  await answer(BY_NAME, "three,two");
  for (let flap = 0; flap < 3; flap++) {
    await dns.set(hosts(THREE));
    await dns.set(hosts(THREE, ONE));
  }
  await answer(BY_NAME, "one,three");
  // What has a higher number waits for what has a lower one.
  await dns.restart({ hosts: hosts(ONE), services: [server("two.test", 1), server("one.test", 1, 2)] });
  await answer(BY_SERVICE, "two");
  await answer(BY_NAME, "one");
  await expectNoFailure(loads);
});

test("a server that hangs, dies, refuses, and comes back without its names costs no request, and the state says so", async () => {
  await dns.restart({ hosts: hosts(ONE, TWO), services: both() });
  await answer(BY_NAME, "one,two");
  await answer(BY_SERVICE, "one,two");
  const loads = startLoads();
  await shows("FRESH");
  dns.signal("SIGSTOP");
  await shows("STALE");
  dns.signal("SIGCONT");
  await shows("FRESH");
  await dns.kill();
  await shows("STALE");
  await dns.restart({ refuses: true });
  await shows("PERMISSION DENIED");
  await answer(BY_NAME, "one,two");
  await dns.restart({});
  await shows("HELD");
  await answer(BY_NAME, "one,two");
  await answer(BY_SERVICE, "one,two");
  await dns.restart({ hosts: hosts(ONE), services: [server("one.test", 1)] });
  await shows("FRESH");
  await answer(BY_NAME, "one");
  await answer(BY_SERVICE, "one");
  await expectNoFailure(loads);
});
