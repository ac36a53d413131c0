import { request as httpRequest } from "node:http";

import { fromJson, type Message, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";

import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import type { Resource } from "../xds/graph.ts";
import { assignment, cluster, listener, routes } from "../../test/support/envoy-resources.ts";
import { type AdminServer, isLoopback, startAdmin } from "./server.ts";
import type { AdminSource, ServerState } from "./source.ts";

const log = pino({ level: "silent" });
let state: ServerState = "LIVE";
let isHandingOver = false;
let drained = 0;
let reopened = 0;
let isReopened = Promise.resolve(true);

const messages = {
  CDS: cluster("a"),
  EDS: assignment("a", 9101),
  LDS: listener("l", 8080, "r"),
  RDS: routes("r", { "/": "a" }),
  VHDS: fromJson(VirtualHostSchema, { name: "v/one", domains: ["one.example.com"] }) as Message,
  SDS: fromJson(SecretSchema, { name: "s", genericSecret: { secret: { inlineString: "hush" } } }) as Message,
};
const names = { CDS: "a", EDS: "a", LDS: "l", RDS: "r", VHDS: "v/one", SDS: "s" };

function active(type: ResourceType): Map<string, Resource> {
  const message = messages[type.shortName];
  const name = names[type.shortName];
  return new Map([[name, { name, version: "v1", bytes: toBinary(type.schema, message), message, updatedMs: 1000 }]]);
}

const source: AdminSource = {
  nodeId: "n",
  group: "g",
  version: "1.2.3",
  workers: 2,
  logLevel: "info",
  drainTimeMs: 10_000,
  startedAt: performance.now(),
  state: () => state,
  active,
  refused: (type) =>
    type === resourceType("CDS")
      ? new Map([
          ["a", { version: "v2", details: "CDS: 1 resource refused: a: bad", attemptMs: 2000 }],
          ["new", { version: "v1", details: "CDS: 1 resource refused: new: bad", attemptMs: 2000 }],
        ])
      : new Map(),
  clusters: () =>
    Promise.resolve([
      {
        name: "a",
        statName: "a",
        breakers: { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 },
        highBreakers: { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 7 },
        endpoints: [
          { address: "::1", port: 9101, hostname: "h", weight: 3, priority: 0, healthy: true, activeRequests: 7 },
          { address: "10.0.0.1", port: 9102, hostname: "", weight: 1, priority: 0, healthy: false, activeRequests: 0 },
        ],
      },
    ]),
  samples: () => [
    { kind: "counter", name: "http.h.downstream_rq_total", metric: "x", tags: [["p", "h"]], value: 6 },
    { kind: "counter", name: "cluster.a.upstream_rq_total", metric: "y", tags: [], value: 5 },
    { kind: "gauge", name: "cluster.a.upstream_rq_active", metric: "z", tags: [], value: 0 },
  ],
  setWorkers: (count) => count === 3,
  isHandingOver: () => isHandingOver,
  failHealth: (failed) => {
    state = failed ? "DRAINING" : "LIVE";
  },
  drainListeners: () => {
    drained++;
  },
  reopenLogs: () => {
    reopened++;
    return isReopened;
  },
};

let admin: AdminServer;

beforeAll(async () => {
  admin = await startAdmin("127.0.0.1", 0, source, log);
});

afterAll(() => admin.close());

async function get(path: string, method = "GET"): Promise<string> {
  const response = await fetch(`http://${admin.address}${path}`, { method });
  return `${response.status} ${await response.text()}`;
}

async function getJson(path: string): Promise<unknown> {
  const response = await fetch(`http://${admin.address}${path}`);
  expect(response.headers.get("content-type")).toBe("application/json");
  return response.json();
}

test("/ready says the state, with 503 unless it is LIVE", async () => {
  expect(await get("/ready")).toBe("200 LIVE\n");
  state = "DRAINING";
  expect(await get("/ready")).toBe("503 DRAINING\n");
  state = "LIVE";
});

test("/ lists every path", async () => {
  const page = await get("/");
  for (const path of ["/clusters", "/config_dump", "/listeners", "/ready", "/server_info", "/stats/prometheus"]) {
    expect(page).toContain(`  ${path} `);
  }
});

test("what changes something takes POST only, what reads takes GET and HEAD", async () => {
  expect(await get("/drain_listeners")).toMatch(/^405 /);
  expect(drained).toBe(0);
  expect(await get("/drain_listeners", "POST")).toBe("200 OK\n");
  expect(drained).toBe(1);
  expect(await get("/reopen_logs")).toMatch(/^405 /);
  expect(await get("/reopen_logs", "POST")).toBe("200 OK\n");
  expect(reopened).toBe(1);
  isReopened = Promise.resolve(false);
  expect(await get("/reopen_logs", "POST")).toMatch(/^503 .*may still be written to/);
  expect(await get("/workers?count=3", "POST")).toBe("200 OK\n");
  expect(await get("/workers?count=x", "POST")).toMatch(/^400 /);
  expect(await get("/healthcheck/fail")).toMatch(/^405 /);
  expect([await get("/healthcheck/fail", "POST"), await get("/ready")]).toEqual(["200 OK\n", "503 DRAINING\n"]);
  expect([await get("/healthcheck/ok", "POST"), await get("/ready")]).toEqual(["200 OK\n", "200 LIVE\n"]);
  expect(await get("/stats", "POST")).toMatch(/^405 /);
  expect(await get("/stats", "HEAD")).toBe("200 ");
});

/** The status of a request as a browser may send it. */
const statusOf = (path: string, method: string, headers: Record<string, string>) =>
  new Promise<number | undefined>((resolve, reject) => {
    const request = httpRequest(`http://${admin.address}${path}`, { method, headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on("error", reject);
    request.end();
  });

test.each<[string, Record<string, string>, number]>([
  ["a page of another site", { origin: "https://evil.example.com", "sec-fetch-site": "cross-site" }, 403],
  ["a page of this machine's other port", { origin: "http://127.0.0.1:3000", "sec-fetch-site": "same-site" }, 403],
  ["a browser that tells the origin alone", { origin: "http://evil.example.com" }, 403],
  ["a page without an origin", { origin: "null" }, 403],
  ["a page whose name was turned to this machine", { host: "evil.example.com:9901" }, 403],
  ["the same, as it posts", { host: "evil.example.com:9901", origin: "http://evil.example.com:9901" }, 403],
  ["a name that only looks like this machine", { host: "127.0.0.1.example.com" }, 403],
  ["another one", { host: "localhost.example.com" }, 403],
  ["a person who types the address", { "sec-fetch-site": "none" }, 200],
  ["localhost", { host: "localhost:9901" }, 200],
  ["a name below it", { host: "proxy.LOCALHOST" }, 200],
  ["an IPv6 address", { host: "[::1]:9901" }, 200],
])("sec 18 whoever asks as %s", async (_, headers, status) => {
  const before = drained;
  expect(await statusOf("/ready", "GET", headers)).toBe(status);
  expect(await statusOf("/drain_listeners", "POST", headers)).toBe(status);
  expect(drained - before).toBe(status === 200 ? 1 : 0);
});

test("what only one of two processes would hear is refused while one takes over from the other", async () => {
  isHandingOver = true;
  for (const path of ["/drain_listeners", "/healthcheck/fail", "/healthcheck/ok", "/reopen_logs", "/workers?count=3"]) {
    expect(await get(path, "POST")).toBe("503 a hot restart is under way; try again\n");
  }
  expect(await get("/ready")).toBe("200 LIVE\n");
  isHandingOver = false;
});

test.each(["/nothing", "/__proto__", "/constructor", "/ready/"])("%s is not found", async (path) => {
  expect(await get(path)).toMatch(/^404 /);
});

test("/clusters in Envoy's lines and JSON", async () => {
  const lines = (await get("/clusters")).split("\n");
  expect(lines).toContain("a::default_priority::max_retries::3");
  expect(lines).toContain("a::high_priority::max_retries::7");
  expect(lines).toContain("a::[::1]:9101::rq_active::7");
  expect(lines).toContain("a::10.0.0.1:9102::health_flags::/failed_eds_health");
  expect(await getJson("/clusters?format=json")).toMatchObject({
    cluster_statuses: [
      { name: "a", host_statuses: [{ weight: 3 }, { health_status: { eds_health_status: "UNHEALTHY" } }] },
    ],
  });
  expect(await get("/clusters?format=xml")).toMatch(/^400 format must be one of: text, json/);
});

test("/listeners in lines and JSON", async () => {
  expect(await get("/listeners")).toBe("200 l::127.0.0.1:8080\n");
  expect(await getJson("/listeners?format=json")).toMatchObject({
    listener_statuses: [{ name: "l", local_address: { socket_address: { port_value: 8080 } } }],
  });
});

test("/server_info", async () => {
  expect(await getJson("/server_info")).toMatchObject({
    version: "sluice-proxy/1.2.3",
    state: "LIVE",
    command_line_options: { concurrency: 2, service_cluster: "g", drain_time: "10s" },
    node: { id: "n", cluster: "g" },
  });
});

test("/stats can be filtered, and is there in all formats", async () => {
  const both = "200 cluster.a.upstream_rq_total: 5\nhttp.h.downstream_rq_total: 6\n";
  expect(await get("/stats")).toBe(both.replace("200 ", "200 cluster.a.upstream_rq_active: 0\n"));
  expect(await get("/stats?usedonly")).toBe(both);
  expect(await get("/stats?filter=rq_total$&format=text")).toContain("http.h");
  expect(await getJson("/stats?filter=%5Ecluster&usedonly&format=json")).toEqual({
    stats: [{ name: "cluster.a.upstream_rq_total", value: 5 }],
  });
  expect(await get("/stats?filter=(")).toMatch(/^400 filter is not a regular expression/);
  const x = '# TYPE x counter\nx{p="h"} 6\n';
  const y = "# TYPE y counter\ny 5\n";
  expect(await get("/stats?format=prometheus&usedonly")).toBe(`200 ${x}${y}`);
  expect(await get("/stats/prometheus?usedonly")).toBe(`200 ${x}${y}`);
  expect(await get("/stats/prometheus?filter=%5Ehttp")).toBe(`200 ${x}`);
});

test("/config_dump has what is in use and what was refused, in Envoy's shape", async () => {
  const { configs } = (await getJson("/config_dump")) as { configs: Record<string, unknown>[] };
  const dump = (kind: string) => configs.find((config) => String(config["@type"]).endsWith(kind));
  expect(dump("ClustersConfigDump")).toMatchObject({
    dynamic_active_clusters: [
      {
        version_info: "v1",
        cluster: { name: "a", type: "EDS" },
        last_updated: "1970-01-01T00:00:01Z",
        error_state: { version_info: "v2", details: "CDS: 1 resource refused: a: bad" },
        client_status: "NACKED",
      },
      { error_state: { details: "CDS: 1 resource refused: new: bad" }, client_status: "NACKED" },
    ],
  });
  expect(dump("EndpointsConfigDump")).toMatchObject({
    dynamic_endpoint_configs: [{ endpoint_config: { cluster_name: "a" }, client_status: "ACKED" }],
  });
  expect(dump("ListenersConfigDump")).toMatchObject({
    dynamic_listeners: [{ name: "l", active_state: { version_info: "v1", listener: { name: "l" } } }],
  });
  expect(dump("RoutesConfigDump")).toMatchObject({ dynamic_route_configs: [{ route_config: { name: "r" } }] });
  expect(dump("SecretsConfigDump")).toMatchObject({ dynamic_active_secrets: [{ name: "s", version_info: "v1" }] });
  expect(JSON.stringify(configs)).not.toContain("hush");
});

test("only addresses of this machine are loopback", () => {
  for (const host of ["127.0.0.1", "127.8.9.10", "::1", "localhost"]) expect(isLoopback(host)).toBe(true);
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.com"]) expect(isLoopback(host)).toBe(false);
});
