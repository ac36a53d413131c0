import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type Server, type ServerResponse } from "node:http";
import { enableCompileCache } from "node:module";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";

import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";

import { type RunningProxy, runProxy } from "./main.ts";
import type { ProxyOptions } from "./options.ts";
import { AdsServer, type Sent } from "../test/support/ads-server.ts";
import {
  assignment,
  cluster,
  listener,
  namedCluster,
  routes,
  takingVirtualHosts,
} from "../test/support/envoy-resources.ts";
import { ask } from "../test/support/http.ts";
import { freePort } from "../test/support/ports.ts";

// Workers use it as well; without it most of the time of these tests goes into reading the same code again and again.
enableCompileCache(join(import.meta.dirname, "../node_modules/.cache/sluice/compile"));

let server: AdsServer;
let upstream: Server;
let directory: string;
let proxies: RunningProxy[];

beforeEach(async () => {
  server = await AdsServer.start();
  upstream = await serve("upstream");
  directory = await mkdtemp(join(tmpdir(), "sluice-proxy-"));
  proxies = [];
});

afterEach(async () => {
  await Promise.all(proxies.map((proxy) => proxy.close()));
  server.close();
  upstream.close();
  upstream.closeAllConnections();
  await rm(directory, { recursive: true });
});

async function serve(text: string): Promise<Server> {
  const http = createHttpServer((request, response) => response.end(`${text} ${request.method} ${request.url}`));
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return http;
}

const portOf = (http: Server) => (http.address() as AddressInfo).port;

async function start(options: Partial<ProxyOptions> = {}): Promise<RunningProxy> {
  const proxy = await runProxy({
    xdsAddress: server.address,
    gatewayGroup: "default",
    nodeId: "n",
    adminAddress: "127.0.0.1:0",
    workers: 2,
    dataDirectory: directory,
    drainTimeMs: 500,
    version: "0.0.0-test",
    logLevel: "silent",
    ...options,
  });
  proxies.push(proxy);
  return proxy;
}

/** Plays the control plane of a gateway with one listener, until the proxy has accepted all of it. */
async function sendGateway(port: number): Promise<void> {
  await server.request(({ typeUrl }) => typeUrl.endsWith("Listener"));
  server.send("CDS", [{ name: "a", body: cluster("a") }]);
  server.send("LDS", [{ name: "l", body: listener("l", port, "r") }]);
  await server.subscriptionTo("EDS", "a");
  server.send("EDS", [{ name: "a", body: assignment("a", portOf(upstream)) }]);
  await server.subscriptionTo("RDS", "r");
  const nonce = server.send("RDS", [{ name: "r", body: routes("r", { "/": "a" }) }]);
  expect((await server.answerTo(nonce)).errorDetail?.message).toBeUndefined();
}

/** A proxy that serves what {@link sendGateway} sends; `start` by itself waits for that no longer than operators would. */
async function startServing(port: number, options: Partial<ProxyOptions> = {}): Promise<RunningProxy> {
  const [proxy] = await Promise.all([start(options), sendGateway(port)]);
  return await live(proxy);
}

async function live(proxy: RunningProxy): Promise<RunningProxy> {
  await expect.poll(async () => (await admin(proxy, "/ready")).status).toBe(200);
  return proxy;
}

async function get(port: number, path = "/"): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return `${response.status} ${await response.text()}`;
}

/** Whether anybody listens. */
async function connects(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const connected = await once(socket, "connect").then(
    () => true,
    () => false,
  );
  socket.destroy();
  return connected;
}

const admin = (proxy: RunningProxy, path: string, init?: RequestInit) =>
  fetch(`http://${proxy.adminAddress}${path}`, init);

/** Plays a control plane whose virtual hosts come one by one; gives the text of the NACK that they get. */
async function sendVirtualHosts(port: number, hosts: readonly Sent[]): Promise<string> {
  await server.request(({ typeUrl }) => typeUrl.endsWith("Listener"));
  server.send("CDS", [{ name: "a", body: cluster("a") }]);
  server.send("LDS", [{ name: "l", body: listener("l", port, "r") }]);
  await server.subscriptionTo("EDS", "a");
  server.send("EDS", [{ name: "a", body: assignment("a", portOf(upstream)) }]);
  await server.subscriptionTo("RDS", "r");
  server.send("RDS", [{ name: "r", body: takingVirtualHosts("r") }]);
  await server.subscriptionTo("VHDS", "*");
  return await changeVirtualHosts(hosts);
}

async function changeVirtualHosts(hosts: readonly Sent[], version = "1"): Promise<string> {
  const { errorDetail } = await server.answerTo(
    server.send(
      "VHDS",
      hosts.map((host) => ({ ...host, version })),
    ),
  );
  return errorDetail?.message ?? "";
}

/** A virtual host with one route. */
const host = (name: string, route: JsonObject): Sent => ({
  name: `r/${name}`,
  body: fromJson(VirtualHostSchema, { name: `r/${name}`, domains: [`${name}.test`], routes: [route] }),
});

const saying = (name: string, text: string) =>
  host(name, { match: { prefix: "/" }, directResponse: { status: 200, body: { inlineString: text } } });

const broken = (name: string) => host(name, { match: { safeRegex: { regex: "(" } }, route: { cluster: "a" } });

test("virtual hosts that nobody has asked for are judged when they come, and serve from the first request on", async () => {
  const port = await freePort();
  const names = Array.from({ length: 300 }, (_, at) => `h${at}`);
  const forwarding = host("forwarding", { match: { prefix: "/" }, route: { cluster: "a" } });
  const sent = [...names.map((name) => saying(name, `I am ${name}`)), forwarding, broken("bad")];
  const [proxy, refusal] = await Promise.all([start(), sendVirtualHosts(port, sent)]);
  expect(refusal).toMatch(/^VHDS: 1 resource refused: r\/bad: routes\[0\]\.match\.safe_regex\.regex: not RE2 syntax/);
  await live(proxy);
  // Listed with its endpoints, though no request has come to it.
  expect(await (await admin(proxy, "/clusters")).text()).toContain(`a::127.0.0.1:${portOf(upstream)}::`);

  const answer = async (name: string) => {
    const { status, body } = await ask(port, { path: "/x", headers: { host: `${name}.test` } });
    return `${status} ${body}`;
  };
  // All at once, in both workers, each for the first time.
  expect(await Promise.all(names.map(answer))).toEqual(names.map((name) => `200 I am ${name}`));
  expect(await answer("forwarding")).toBe("200 upstream GET /x");
  expect(await answer("bad")).toMatch(/^404/);

  // One that was asked for, one that becomes good, and one that becomes bad, which goes on as it was.
  const changes = [saying("h7", "changed"), saying("bad", "good"), broken("h8")];
  expect(await changeVirtualHosts(changes, "2")).toMatch(/^VHDS: 1 resource refused: r\/h8: /);
  await expect.poll(() => answer("bad")).toBe("200 good");
  for (let n = 0; n < 10; n++) {
    // Each worker has what came together in use together, but not both at the same time.
    await expect.poll(() => answer("h7")).toBe("200 changed");
    expect(await answer("h8")).toBe("200 I am h8");
  }
});

test("a proxy serves what a control plane sends, in all its workers", async () => {
  const port = await freePort();
  const proxy = await startServing(port);
  expect((await admin(proxy, "/ready")).status).toBe(200);
  for (let i = 0; i < 10; i++) expect(await get(port, `/x?i=${i}`)).toBe(`200 upstream GET /x?i=${i}`);
});

test("an endpoint that changes is used at once", async () => {
  const port = await freePort();
  await startServing(port);
  const other = await serve("other");
  server.send("EDS", [{ name: "a", version: "2", body: assignment("a", portOf(other)) }]);
  await expect.poll(() => get(port)).toBe("200 other GET /");
  other.close();
  other.closeAllConnections();
});

test("routes to a cluster whose name is still looked up are accepted when they are in use, not before", async () => {
  const port = await freePort();
  // Worker threads load it: the name is known after a while, which is longer than anything else here takes.
  const resolver = join(directory, "slow-names.mjs");
  const lines = [
    'import dns from "node:dns/promises";',
    'import { syncBuiltinESMExports } from "node:module";',
    'import { setTimeout as sleep } from "node:timers/promises";',
    'dns.lookup = () => sleep(1500, [{ address: "127.0.0.1", family: 4 }]);',
    "syncBuiltinESMExports();",
  ];
  await writeFile(resolver, lines.join("\n"));
  process.env["NODE_OPTIONS"] = `--import=${resolver}`;
  const other = await serve("other");
  try {
    await startServing(port);
    server.send("CDS", [{ name: "named", body: namedCluster("named", "slow.test", portOf(other)) }]);
    const nonce = server.send("RDS", [{ name: "r", version: "2", body: routes("r", { "/": "named" }) }]);
    expect((await server.answerTo(nonce)).errorDetail?.message).toBeUndefined();
    // In each worker.
    for (let n = 0; n < 10; n++) expect(await get(port, `/${n}`)).toBe(`200 other GET /${n}`);
  } finally {
    delete process.env["NODE_OPTIONS"];
    other.close();
    other.closeAllConnections();
  }
});

test("a listener that moves is open at its new place and closed at the old one; one that goes is closed", async () => {
  const [port, next] = [await freePort(), await freePort()];
  await startServing(port);
  server.send("LDS", [{ name: "l", version: "2", body: listener("l", next, "r") }]);
  await expect.poll(() => get(next).catch(() => "closed")).toBe("200 upstream GET /");
  await expect.poll(() => get(port).catch(() => "closed")).toBe("closed");
  server.send("LDS", [], ["l"]);
  await expect.poll(() => get(next).catch(() => "closed")).toBe("closed");
});

test("a proxy that stops finishes what it has begun and accepts no more", async () => {
  const port = await freePort();
  const proxy = await startServing(port, { drainTimeMs: 60_000 });
  const slow = Promise.withResolvers<ServerResponse>();
  upstream.removeAllListeners("request");
  upstream.on("request", (_request, response) => slow.resolve(response));
  const answer = get(port, "/slow");
  const response = await slow.promise;
  const closed = proxy.close();
  // No request: one that is still taken would have to be answered as well.
  await expect.poll(() => connects(port)).toBe(false);
  expect((await admin(proxy, "/ready")).status).toBe(503);
  response.end("finished");
  expect(await answer).toBe("200 finished");
  await closed;
  proxies.length = 0;
});

test("the control plane goes away: the proxy serves on, and starts again from disk", async () => {
  const port = await freePort();
  const proxy = await startServing(port);
  server.close();
  expect(await get(port)).toBe("200 upstream GET /");
  await proxy.close();
  proxies.length = 0;

  const again = await live(await start());
  expect(await (await admin(again, "/ready")).text()).toBe("LIVE\n");
  expect(await get(port)).toBe("200 upstream GET /");
});

test("a damaged snapshot is no empty gateway: the proxy waits for a control plane, or doesn't start without one", async () => {
  const port = await freePort();
  const proxy = await startServing(port);
  await proxy.close();
  proxies.length = 0;
  server.close();
  const file = join(directory, "proxy", "n.snapshot");
  await writeFile(file, "rubbish");

  const waiting = await start();
  const ready = await admin(waiting, "/ready");
  expect([ready.status, await ready.text()]).toEqual([503, "PRE_INITIALIZING\n"]);
  await expect(start({ xdsAddress: undefined })).rejects.toThrow(file);
});

test("a proxy whose workers can't start is not ready and shows no listener; it is as soon as one of them serves", async () => {
  const [port, adminPort] = [await freePort(), await freePort()];
  const broken = join(directory, "broken.mjs");
  await writeFile(broken, "throw new Error('no worker gets further than this')");
  // Worker threads take it from their environment, and this thread has started already.
  process.env["NODE_OPTIONS"] = `--import=${broken}`;
  try {
    const started = start({ adminAddress: `127.0.0.1:${adminPort}` });
    await sendGateway(port);
    const crashes = async () => {
      const stats = await (await fetch(`http://127.0.0.1:${adminPort}/stats`)).text();
      return Number(/^server\.worker_crashes: (\d+)$/m.exec(stats)?.[1]);
    };
    await expect.poll(crashes).toBeGreaterThan(1);
    const page = async (path: string) => (await fetch(`http://127.0.0.1:${adminPort}${path}`)).text();
    expect([await page("/ready"), await page("/listeners")]).toEqual(["PRE_INITIALIZING\n", "\n"]);

    delete process.env["NODE_OPTIONS"];
    await started;
    await expect.poll(() => page("/ready")).toBe("LIVE\n");
    expect(await page("/listeners")).toBe(`l::127.0.0.1:${port}\n`);
    expect(await get(port)).toBe("200 upstream GET /");
  } finally {
    delete process.env["NODE_OPTIONS"];
  }
});

test.each<[string, Partial<ProxyOptions>, RegExp]>([
  ["sec 18 an admin address that others reach", { adminAddress: "0.0.0.0:0" }, /--insecure allows it/],
  ["an admin address without port", { adminAddress: "127.0.0.1" }, /must be HOST:PORT/],
  ["an xDS address without port", { xdsAddress: "localhost" }, /must be HOST:PORT/],
  ["no worker", { workers: 0 }, /between 1 and 256/],
  ["no control plane and nothing on disk", { xdsAddress: undefined }, /no control plane is given/],
])("%s is refused", async (_what, options, reason) => {
  await expect(start(options)).rejects.toThrow(reason);
});

test("an admin port that is taken is the system's error", async () => {
  const { port } = upstream.address() as AddressInfo;
  await expect(start({ adminAddress: `127.0.0.1:${port}` })).rejects.toMatchObject({ code: "EADDRINUSE", port });
});
