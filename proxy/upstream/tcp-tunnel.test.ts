/** CONNECT that ends at the gateway: over HTTP/1.1 and HTTP/2, to TCP servers. */
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange, RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { Http2Client } from "../../test/support/http2-client.ts";
import * as h2 from "../../test/support/http2-frames.ts";
import { fillTunnel, slowOrigin } from "../../test/support/tunnels.ts";
import { compileRouteConfiguration } from "../route/compile.ts";

const compile = (virtualHosts: JsonObject[]) =>
  compileRouteConfiguration(fromJson(RouteConfigurationSchema, { name: "r", virtualHosts }));

const CONNECT = { upgradeType: "CONNECT", connectConfig: {} };
const tunnels = { match: { connectMatcher: {} }, route: { cluster: "upstream", upgradeConfigs: [CONNECT] } };
const pages = { match: { prefix: "/" }, directResponse: { status: 200 } };

/** Tunnels for the host tunnel.test:99, pages for all others. */
function table() {
  const compiled = compile([
    { name: "t", domains: ["tunnel.test:99"], routes: [pages, tunnels] },
    { name: "p", domains: ["*"], routes: [pages] },
  ]);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  return compiled.value;
}

async function start(settings = {}) {
  const server = await TestServer.raw((socket) => {
    socket.on("data", (bytes) => socket.write(`<${bytes.toString("latin1")}>`, "latin1"));
    socket.on("end", () => socket.end("bye"));
  }, true);
  const cluster = clusterOf([endpointAt(server.port)], settings);
  const path = await DataPath.start({ cluster, http: { inlineRoutes: table() } });
  return {
    path,
    server,
    cluster,
    async [Symbol.asyncDispose]() {
      await path[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

const HEAD = "CONNECT tunnel.test:99 HTTP/1.1\r\nHost: tunnel.test:99\r\n\r\n";

test("over HTTP/1.1 bytes go both ways after 200, those sent ahead too, and each half ends by itself", async () => {
  await using it = await start();
  using client = new RawClient(it.path.port);
  client.send(`${HEAD}early`);
  const head = await client.until((text) => text.endsWith("<early>"));
  expect(head).toMatch(/^HTTP\/1.1 200 OK\r\n/);
  expect(head).not.toMatch(/content-length|transfer-encoding|upgrade/);
  client.send("\0\xff GET / HTTP/1.1\r\n\r\n");
  await client.until((text) => text.endsWith("<\0\xff GET / HTTP/1.1\r\n\r\n>"));
  client.socket.end();
  expect((await client.end()).endsWith("bye")).toBe(true);
  await until(() => it.path.records.length === 1);
  expect(it.path.records[0]).toMatchObject({
    status: 200,
    flags: [],
    bytesReceived: 26,
    upstreamHost: `127.0.0.1:${it.server.port}`,
  });
  await until(() => it.cluster.load.connections === 0);
});

test("over HTTP/2 a tunnel is a stream like others", async () => {
  await using it = await start();
  await using client = new Http2Client(it.path.port);
  const stream = client.session.request({ ":method": "CONNECT", ":authority": "tunnel.test:99" }, { endStream: false });
  let seen = "";
  stream.on("data", (piece: Buffer) => (seen += piece.toString("latin1")));
  stream.write("a");
  await until(() => seen === "<a>");
  expect((await client.ask({ ":authority": "other.test" })).status).toBe(200);
  stream.end();
  await until(() => stream.destroyed);
  expect(seen).toBe("<a>bye");
});

test("sec 7 CONNECT elsewhere finds no route, and nothing is dialled", async () => {
  await using it = await start();
  for (const target of ["other.test:99", "tunnel.test:98"]) {
    const answer = await exchange(
      it.path.port,
      `CONNECT ${target} HTTP/1.1\r\nHost: tunnel.test:99\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1.1 404 [^]*connection: close\r\n\r\n$/);
  }
  const withBody = await exchange(it.path.port, HEAD.replace("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\nabc"));
  expect(withBody).toMatch(/^HTTP\/1.1 403 /);
  expect(it.server.accepted).toBe(0);
});

test("an endpoint that can't be reached is 503, one that dies ends the tunnel", async () => {
  const gone = await TestServer.raw(() => {});
  const { port } = gone;
  await gone[Symbol.asyncDispose]();
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(port)]), http: { inlineRoutes: table() } });
  expect(await exchange(path.port, HEAD)).toMatch(/^HTTP\/1.1 503 /);
  expect(path.records[0]).toMatchObject({ flags: ["UF"] });

  await using dying = await TestServer.raw((socket) => socket.once("data", () => socket.resetAndDestroy()));
  await using other = await DataPath.start({
    cluster: clusterOf([endpointAt(dying.port)]),
    http: { inlineRoutes: table() },
  });
  using client = new RawClient(other.port);
  client.send(HEAD);
  await client.until((text) => text.endsWith("\r\n\r\n"));
  client.send("x");
  await client.end();
  await until(() => other.records.length === 1);
  expect(other.records[0]?.flags).toEqual(["UC"]);
});

test("a slow end of a tunnel holds back the other", async () => {
  await using sink = await TestServer.raw((socket) => socket.pause());
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(sink.port)]),
    http: { inlineRoutes: table() },
  });
  using client = new RawClient(path.port);
  client.send(HEAD);
  await client.until((text) => text.endsWith("\r\n\r\n"));
  let sent = 0;
  let taken = true;
  const piece = Buffer.alloc(1_000_000);
  for (; taken && sent < 100; sent++) {
    taken = await Promise.race([
      new Promise<boolean>((resolve) => client.socket.write(piece, () => resolve(true))),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 500)),
    ]);
  }
  expect(taken).toBe(false);
});

test("connect_matcher and CONNECT's connect_config go together, and forwarding a CONNECT is refused", () => {
  const problems = (route: JsonObject) => {
    const compiled = compile([{ name: "a", domains: ["*"], routes: [route] }]);
    return compiled.ok ? [] : compiled.problems.map(({ field }) => field);
  };
  const route = (...upgradeConfigs: JsonObject[]) => ({ cluster: "c", upgradeConfigs });
  expect(problems(tunnels)).toEqual([]);
  expect(problems({ ...tunnels, route: route({ upgradeType: "CONNECT" }) })).toEqual([
    "virtual_hosts[0].routes[0].route.upgrade_configs[0].connect_config",
  ]);
  expect(problems({ ...tunnels, route: route() })).toEqual(["virtual_hosts[0].routes[0]"]);
  expect(problems({ match: pages.match, route: route(CONNECT) })).toEqual(["virtual_hosts[0].routes[0]"]);
});

test("an end of a tunnel that has ended its half gets all that the other one sends, however slowly it reads", async () => {
  const origin = await slowOrigin("");
  await using server = origin.server;
  const cluster = clusterOf([endpointAt(server.port)]);
  await using path = await DataPath.start({ cluster, http: { inlineRoutes: table() } });
  using client = new RawClient(path.port);
  const fields = h2.fields([":method", "CONNECT"], [":authority", "tunnel.test:99"]);
  const opening = [h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0), h2.frame(h2.HEADERS, h2.END_HEADERS, 1, fields)];
  client.send(Buffer.concat(opening).toString("latin1"));
  const sent = await fillTunnel(client);
  await until(() => path.records.length === 1);
  expect(await origin.readAll()).toBe(sent);
  await until(() => cluster.load.connections === 0);
});
