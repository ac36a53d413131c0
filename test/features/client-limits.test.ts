/** What a client may take for itself, from the admin API to a proxy of two workers: connections, and time for its body. */
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { RawClient } from "../support/raw-client.ts";
import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { freePort } from "../support/ports.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const cleanup = new AsyncDisposableStack();
const ports = { few: 0, proxied: 0, hasty: 0 };
let adminPort: number;

beforeAll(async () => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const echo = await startUpstream("echo");
  cleanup.defer(() => echo.close());
  for (const name of ["few", "proxied", "hasty"] as const) ports[name] = await freePort();
  const control = await ControlPlane.start(join(dir.path, "data"));
  cleanup.defer(() => control.program.stop());
  await control.call("GatewayGroupService/UpdateGatewayGroup", {
    gatewayGroup: {
      name: "default",
      listeners: [
        { name: "few", port: ports.few, maxConnectionsPerAddress: 3 },
        { name: "proxied", port: ports.proxied, maxConnectionsPerAddress: 1, proxyProtocol: true },
        { name: "hasty", port: ports.hasty, http: { bodyRates: { grace: "0.2s" } } },
      ],
    },
  });
  await control.call("ServiceService/CreateService", {
    service: {
      name: "all",
      upstreams: [{ name: "default", nodes: [{ host: "127.0.0.1", port: echo.port }] }],
      routes: [{ name: "all", paths: ["/*"] }],
    },
  });
  const proxy = await startProxy(control.xdsPort, { workers: 2, data: join(dir.path, "proxy") });
  cleanup.defer(() => proxy.program.stop());
  adminPort = proxy.adminPort;
  // Listeners open one by one, in each worker by itself.
  const headers = { few: "", proxied: "PROXY TCP4 198.51.100.9 192.0.2.80 1 80\r\n", hasty: "" };
  for (const name of ["few", "proxied", "hasty"] as const) {
    await waitFor(`traffic on ${name}`, async () => {
      using client = new RawClient(ports[name]).send(headers[name] + GET);
      return (await client.until((text) => text.includes("\r\n"))).startsWith("HTTP/1.1 200");
    });
  }
});

afterAll(() => cleanup.disposeAsync());

const GET = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n";

/** Whether a connection is taken. */
async function isTaken(client: RawClient): Promise<boolean> {
  await Promise.race([client.send(GET).until((text) => text !== ""), client.end()]).catch(() => {});
  return client.received.startsWith("HTTP/1.1 200");
}

/** A statistic of the listener on a port. */
async function overflowsOf(port: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${adminPort}/stats`)).text();
  return Number(
    new RegExp(`^listener\\.127\\.0\\.0\\.1_${port}\\.downstream_cx_overflow: (\\d+)$`, "m").exec(text)?.[1],
  );
}

test("one address has so many connections at once, whichever worker they come to, and each that ends makes room", async () => {
  const before = await overflowsOf(ports.few);
  const clients = Array.from({ length: 12 }, () => new RawClient(ports.few));
  const taken = await Promise.all(clients.map(isTaken));
  // Two workers that take one at the same moment may both refuse it.
  const count = taken.filter(Boolean).length;
  expect(count).toBeGreaterThan(0);
  expect(count).toBeLessThanOrEqual(3);
  await waitFor("each of the others to be counted", async () => (await overflowsOf(ports.few)) === before + 12 - count);
  for (const client of clients) client[Symbol.dispose]();
  await waitFor("room", async () => {
    using client = new RawClient(ports.few);
    return await isTaken(client);
  });
});

test("behind the PROXY protocol the address is the one that its header names", async () => {
  const from = (address: string) => new RawClient(ports.proxied).send(`PROXY TCP4 ${address} 192.0.2.80 1 80\r\n`);
  using one = from("198.51.100.1");
  using other = from("198.51.100.2");
  expect(await isTaken(one)).toBe(true);
  expect(await isTaken(other)).toBe(true);
  // Only now: of two that come at the same time either may be the first.
  using again = from("198.51.100.1");
  expect(await isTaken(again)).toBe(false);
});

test("a body that trickles is answered by 408", async () => {
  using client = new RawClient(ports.hasty);
  await client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nabc").end();
  expect(client.received).toMatch(/^HTTP\/1.1 408 /);
});
