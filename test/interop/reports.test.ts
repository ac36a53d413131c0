/** What data planes report, with a real Envoy, the native proxy and grpcurl: access logs, load, client status, rate limits; and REST discovery. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { ControlPlane, startEnvoy, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { Program, run } from "../support/processes.ts";
import { envoy, grpcurl } from "../support/tools.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const START_MS = 60_000;

const cleanup = new AsyncDisposableStack();
afterAll(() => cleanup.disposeAsync());

let plane: ControlPlane;
let logFile: string;
let upstreamPort = 0;
const ports = { native: 0, envoy: 0 };

beforeAll(async () => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const upstream = await startUpstream("upstream");
  cleanup.defer(() => upstream.close());
  upstreamPort = upstream.port;
  logFile = join(dir.path, "access.jsonl");
  plane = await ControlPlane.start(join(dir.path, "data"), { args: ["--access-log-file", logFile] });
  cleanup.defer(() => plane.program.stop());
  const file = join(dir.path, "gateway.yaml");
  ports.native = await freePort();
  ports.envoy = await freePort();
  const group = (name: "native" | "envoy", more = "") => `
  - name: ${name}
    listeners: [{ name: http, port: ${ports[name]} }]
    accessLog: { collector: "127.0.0.1:${plane.xdsPort}", logName: of-${name} }${more}`;
  const service = (name: string) => `
  - name: shop
    gatewayGroup: ${name}
    hosts: ["*"]
    upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: ${upstream.port} }] }]
    routes: [{ name: all, paths: [/*] }]`;
  const rateLimits = `
    rateLimits:
      - domain: edge
        descriptors: [{ key: user, rateLimit: { requestsPerUnit: 2, unit: year } }]`;
  const rest = `
  - name: rest
    listeners: []
`;
  const byDns = `
  - name: shop
    gatewayGroup: rest
    hosts: ["*"]
    upstreams: [{ name: default, nodes: [{ host: localhost, port: ${upstream.port} }] }]
    routes: [{ name: all, paths: [/*] }]
`;
  await writeFile(
    file,
    `gatewayGroups:${group("native")}${group("envoy", rateLimits)}${rest}services:${service("native")}${service("envoy")}${byDns}`,
  );
  const applied = await plane.sluice("apply", "-f", file);
  expect(applied.stderr).toBe("");
  const native = await startProxy(plane.xdsPort, { group: "native", nodeId: "px-1" });
  cleanup.defer(() => native.program.stop());
  const theirs = await startEnvoy(await envoy(), plane.xdsPort, { group: "envoy", args: ["--load-reports"] });
  cleanup.defer(() => theirs.program.stop());
  for (const port of Object.values(ports)) {
    await waitFor(`traffic on ${port}`, async () => (await ask(port, { path: "/up" })).status === 200, START_MS);
  }
});

test("L3 both data planes log to the control plane", async () => {
  for (const port of Object.values(ports)) await ask(port, { path: "/logged" });
  for (const [node, log] of [
    ["px-1", "of-native"],
    ["envoy-1", "of-envoy"],
  ]) {
    await waitFor(`a line of ${node}`, async () => {
      const lines = (await readFile(logFile, "utf8")).trimEnd().split("\n");
      const own = lines
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter((each) => each["node_id"] === node);
      expect(own).toContainEqual(
        expect.objectContaining({
          log_name: log,
          type: "http",
          request: expect.objectContaining({ path: "/logged" }) as unknown,
          response: expect.objectContaining({ response_code: 200 }) as unknown,
        }),
      );
      return true;
    });
  }
});

test.each(["native", "envoy"] as const)("L1 %s reports its load", async (group) => {
  await waitFor(
    "the load",
    async () => {
      // Again and again: Envoy counts what comes once it has been told to report the cluster.
      expect((await ask(ports[group], { path: "/load" })).status).toBe(200);
      const { loads = [] } = (await plane.call("LoadService/ListLoads", { gatewayGroup: group })) as {
        loads?: { cluster: string; issued: string; successful: string; failed?: string }[];
      };
      const load = loads.find(({ cluster }) => cluster === "shop/default");
      expect(Number(load?.failed ?? 0)).toBe(0);
      return Number(load?.issued) >= 5 && Number(load?.successful) >= 5;
    },
    START_MS,
  );
});

test("L2 grpcurl sees each resource of each data plane in step, on both ports", async () => {
  const path = await grpcurl();
  const fetch = async (...args: string[]) => {
    const method = "envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus";
    const { stdout, stderr } = await run(path, ["-plaintext", "-max-msg-sz", "33554432", ...args, method]);
    expect(stderr).toBe("");
    return JSON.parse(stdout) as {
      config: { node: { id: string }; genericXdsConfigs: { name: string; configStatus: string }[] }[];
    };
  };
  const authorization = `authorization: Bearer ${await plane.token()}`;
  const ways = [[`127.0.0.1:${plane.xdsPort}`], ["-H", authorization, `127.0.0.1:${plane.adminPort}`]];
  for (const way of ways) {
    await waitFor("everything in step", async () => {
      const { config } = await fetch(...way);
      expect(config.map(({ node }) => node.id).sort()).toEqual(["envoy-1", "px-1"]);
      for (const { genericXdsConfigs } of config) {
        expect(genericXdsConfigs.map(({ name }) => name)).toEqual(expect.arrayContaining(["http", "shop/default"]));
        expect(new Set(genericXdsConfigs.map(({ configStatus }) => configStatus))).toEqual(new Set(["SYNCED"]));
      }
      return true;
    });
  }
});

const socket = (port: number) => ({ socket_address: { address: "127.0.0.1", port_value: port } });
const type = (name: string) => `type.googleapis.com/envoy.${name}`;

const staticCluster = (name: string, port: number) => ({
  name,
  type: "STATIC",
  connect_timeout: "60s",
  load_assignment: {
    cluster_name: name,
    endpoints: [{ lb_endpoints: [{ endpoint: { address: socket(port) } }] }],
  },
});

/** A static cluster that is the control plane's xDS port. */
const controlPlane = (http2: boolean) => ({
  ...staticCluster("control-plane", plane.xdsPort),
  ...(http2 && {
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": type("extensions.upstreams.http.v3.HttpProtocolOptions"),
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
  }),
});

/** An Envoy with a configuration of its own. */
async function startOwnEnvoy(bootstrap: object): Promise<number> {
  const adminPort = await freePort();
  const config = JSON.stringify({ admin: { address: socket(adminPort) }, ...bootstrap });
  const flags = ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn"];
  const program = new Program(await envoy(), ["--config-yaml", config, ...flags]);
  cleanup.defer(() => program.stop());
  await waitFor(
    "Envoy",
    async () => {
      if (program.exited) throw new Error(program.stderr);
      return (await ask(adminPort, { path: "/ready" })).status === 200;
    },
    START_MS,
  );
  return adminPort;
}

test("L4 Envoy's rate limit filter asks the control plane, and refuses what is over the limit", async () => {
  const port = await freePort();
  const rateLimit = {
    "@type": type("extensions.filters.http.ratelimit.v3.RateLimit"),
    domain: "edge",
    failure_mode_deny: true,
    timeout: "60s",
    rate_limit_service: {
      grpc_service: { envoy_grpc: { cluster_name: "control-plane" } },
      transport_api_version: "V3",
    },
  };
  const manager = {
    "@type": type("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
    stat_prefix: "limited",
    http_filters: [
      { name: "envoy.filters.http.ratelimit", typed_config: rateLimit },
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": type("extensions.filters.http.router.v3.Router") },
      },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          rate_limits: [{ actions: [{ request_headers: { header_name: "x-user", descriptor_key: "user" } }] }],
          // One that Envoy answers by itself would not be limited.
          routes: [{ match: { prefix: "/" }, route: { cluster: "upstream" } }],
        },
      ],
    },
  };
  await startOwnEnvoy({
    node: { id: "limited", cluster: "envoy" },
    static_resources: {
      clusters: [controlPlane(true), staticCluster("upstream", upstreamPort)],
      listeners: [
        {
          name: "limited",
          address: socket(port),
          filter_chains: [
            { filters: [{ name: "envoy.filters.network.http_connection_manager", typed_config: manager }] },
          ],
        },
      ],
    },
  });
  const as = (user: string) => ask(port, { headers: { "x-user": user } });
  const first = await as("ann");
  expect([first.status, first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]]).toEqual([
    200,
    "2",
    "1",
  ]);
  expect((await as("ann")).status).toBe(200);
  const third = await as("ann");
  expect([third.status, third.headers["x-envoy-ratelimited"], third.headers["ratelimit-remaining"]]).toEqual([
    429,
    "true",
    "0",
  ]);
  expect((await as("bob")).status).toBe(200);
});

test("T6 an Envoy that polls by REST has the clusters", async () => {
  const source = { api_type: "REST", transport_api_version: "V3", cluster_names: ["control-plane"] };
  const adminPort = await startOwnEnvoy({
    node: { id: "poller", cluster: "rest" },
    static_resources: { clusters: [controlPlane(false)] },
    dynamic_resources: {
      cds_config: {
        resource_api_version: "V3",
        api_config_source: { ...source, refresh_delay: "1s", request_timeout: "60s" },
      },
    },
  });
  await waitFor("the cluster", async () => {
    const { body } = await ask(adminPort, { path: "/clusters" });
    return body.includes("shop/default::");
  });
  // Polls that bring nothing new are no failures.
  await waitFor("more polls", async () => {
    const { body } = await ask(adminPort, { path: "/stats?filter=cluster_manager.cds" });
    const count = (name: string) => Number(new RegExp(`cds\\.${name}: (\\d+)`).exec(body)?.[1]);
    expect([count("update_rejected"), count("update_failure")]).toEqual([0, 0]);
    return count("update_attempt") >= 3 && count("update_success") >= 1;
  });
});
