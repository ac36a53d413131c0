/** Discovery without streams: unary calls, and REST in JSON on the same port. */
import { createHash } from "node:crypto";
import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";

import { type DescMethodUnary, fromJson } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ClusterDiscoveryService } from "#envoy/service/cluster/v3/cds_pb.ts";
import type { DiscoveryRequestSchema, DiscoveryResponseSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";
import { EndpointDiscoveryService } from "#envoy/service/endpoint/v3/eds_pb.ts";
import { ExtensionConfigDiscoveryService } from "#envoy/service/extension/v3/config_discovery_pb.ts";
import { ListenerDiscoveryService } from "#envoy/service/listener/v3/lds_pb.ts";
import { RouteDiscoveryService } from "#envoy/service/route/v3/rds_pb.ts";
import { ScopedRoutesDiscoveryService } from "#envoy/service/route/v3/srds_pb.ts";
import { RuntimeDiscoveryService } from "#envoy/service/runtime/v3/rtds_pb.ts";
import { SecretDiscoveryService } from "#envoy/service/secret/v3/sds_pb.ts";
import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { servedType } from "#proto/resource-types.ts";

import { defaultLimits } from "../../control-plane/xds/limits.ts";
import { ask } from "../support/http.ts";
import { callUnary } from "../support/port-client.ts";
import { nameOf } from "../support/xds-client.ts";
import { clusterOf, type Running, startRunning } from "./running.ts";

let running: Running;
beforeAll(async () => {
  running = await startRunning(["a", "b"]);
  const joinTokens = [{ name: "t", sha256: createHash("sha256").update("guarded-token").digest("hex") }];
  await running.gateways.apply({
    gateway: { gatewayGroups: [{ name: "guarded", listeners: [{ name: "http", port: 19_301 }], joinTokens }] },
  });
});
afterAll(() => running[Symbol.asyncDispose]());

type FetchMethod = DescMethodUnary<typeof DiscoveryRequestSchema, typeof DiscoveryResponseSchema>;
const node = { id: "fetcher", cluster: "default" };
const [a, b] = [clusterOf("a"), clusterOf("b")];

const rows: [Parameters<typeof servedType>[0], string, FetchMethod, string[], string[]][] = [
  ["CDS", "clusters", ClusterDiscoveryService.method.fetchClusters, [], [a, b]],
  ["EDS", "endpoints", EndpointDiscoveryService.method.fetchEndpoints, [a, "nobody"], [a]],
  ["LDS", "listeners", ListenerDiscoveryService.method.fetchListeners, [], ["http"]],
  ["RDS", "routes", RouteDiscoveryService.method.fetchRoutes, ["nothing"], []],
  ["SRDS", "scoped-routes", ScopedRoutesDiscoveryService.method.fetchScopedRoutes, [], []],
  ["SDS", "secrets", SecretDiscoveryService.method.fetchSecrets, ["nothing"], []],
  ["RTDS", "runtime", RuntimeDiscoveryService.method.fetchRuntime, ["layer"], ["layer"]],
  ["ECDS", "extension_configs", ExtensionConfigDiscoveryService.method.fetchExtensionConfigs, ["nothing"], []],
];

interface RestAnswer {
  readonly status: number | undefined;
  readonly body: string;
}

function post(path: string, body: unknown, headers: Record<string, string> = {}, method = "POST"): Promise<RestAnswer> {
  const [host, port] = running.plane.xdsAddress.split(":");
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host, port, path, method, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode, body: text }));
    });
    request.on("error", reject);
    request.end(typeof body === "string" ? body : JSON.stringify(body));
  });
}

test.each(rows)("T6 %s by a unary call", async (type, _, method, resourceNames, expected) => {
  const { typeUrl } = servedType(type);
  const response = await callUnary(running.plane.xdsAddress, method, { node, resourceNames });
  expect([response.typeUrl, response.versionInfo === ""]).toEqual([typeUrl, false]);
  expect(response.resources.map(({ value }) => nameOf(typeUrl, value)).sort()).toEqual(expected);
  for (const each of response.resources) expect(each.typeUrl).toBe(typeUrl);
});

test.each(rows)("T6 %s by REST, in JSON", async (type, path, _, resourceNames, expected) => {
  const { typeUrl, nameField } = servedType(type);
  const { status, body } = await post(`/v3/discovery:${path}`, { node, resource_names: resourceNames });
  expect(status).toBe(200);
  const answer = JSON.parse(body) as { typeUrl: string; versionInfo: string; resources?: Record<string, string>[] };
  expect(answer.typeUrl).toBe(typeUrl);
  const resources = answer.resources ?? [];
  expect(resources.map((each) => each[nameField] ?? "").sort()).toEqual(expected);
  for (const each of resources) expect(each["@type"]).toBe(typeUrl);
  if (type !== "CDS") return;
  const { "@type": _type, ...cluster } = resources[0] ?? {};
  expect(fromJson(ClusterSchema, cluster).name).toBe(a);
  // The nonce and the type are optional; who has the version gets nothing; who names resources gets them.
  const again = { node, version_info: answer.versionInfo, type_url: typeUrl, response_nonce: "whatever" };
  expect(await post(`/v3/discovery:${path}`, again)).toEqual({ status: 304, body: "" });
  const named = await post(`/v3/discovery:${path}`, { ...again, resource_names: [b] });
  expect(named.body).toContain(`"name":"${b}"`);
  expect(named.body).not.toContain(`"name":"${a}"`);
});

test("T6 a connection by REST is kept from one poll to the next for as long as one that has had streams", async () => {
  const port = Number(running.plane.xdsAddress.split(":")[1]);
  const poll = { method: "POST", path: "/v3/discovery:clusters", body: JSON.stringify({ node }) };
  // A client that polls goes by what it is told of it, or meets the end of the connection with some poll.
  const { headers } = await ask(port, { ...poll, agent: new Agent({ keepAlive: true }) });
  expect(headers["keep-alive"]).toBe(`timeout=${defaultLimits.connectionIdleMs / 1000}`);
});

test("T6 what REST refuses, and why", async () => {
  const clusters = "/v3/discovery:clusters";
  const guarded = { id: "x", cluster: "guarded" };
  const listeners = "type.googleapis.com/envoy.config.listener.v3.Listener";
  expect(await post(clusters, "{")).toEqual({ status: 400, body: "the body is no DiscoveryRequest in JSON\n" });
  expect(await post(clusters, {})).toEqual({ status: 400, body: "the first request of a stream has no node\n" });
  expect((await post(clusters, { node, type_url: listeners })).status).toBe(400);
  expect((await post(clusters, "", {}, "GET")).status).toBe(405);
  expect((await post("/v3/discovery:made-up", { node })).status).toBe(404);
  expect((await post(clusters, { node: guarded })).status).toBe(401);
  expect((await post(clusters, { node: guarded }, { authorization: "Bearer wrong" })).status).toBe(403);
  expect((await post(clusters, { node: guarded }, { authorization: "Bearer guarded-token" })).status).toBe(200);
  expect((await post(clusters, { node: { id: "x", cluster: "nowhere" } })).status).toBe(503);
  expect((await post(clusters, "x".repeat(5 * 1024 * 1024))).status).toBe(413);
});

test("bytes of no protocol, and connections that say nothing, harm nobody", async () => {
  const [host = "", port = ""] = running.plane.xdsAddress.split(":");
  const silent = connect(Number(port), host);
  silent.on("error", () => {});
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), host, () => socket.write(Buffer.from("00ff16030100", "hex")));
    socket.on("error", () => {}).on("close", () => resolve());
    socket.resume();
  });
  const client = running.delta();
  client.send({ typeUrl: servedType("CDS").typeUrl });
  await client.next();
  silent.destroy();
});
