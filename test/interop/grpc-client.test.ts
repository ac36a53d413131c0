/** A client of gRPC's own, which knows nothing of Sluice, routes calls by what our server says (rules S10-S16 as gRPC reads them). */
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Server, ServerCredentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ClusterSchema, Cluster_DiscoveryType } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { RouterSchema } from "#envoy/extensions/filters/http/router/v3/router_pb.ts";
import { HttpConnectionManagerSchema } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { typeUrlOf } from "../support/xds-resources.ts";
import { startXdsRig, type XdsRig } from "../support/xds-rig.ts";
import { waitFor } from "../support/wait.ts";

const PATH = "/test.Echo/Say";
const TARGET = "echo.example.com";
const asIs = (bytes: Buffer) => bytes;
const ads = { configSourceSpecifier: { case: "ads", value: {} } } as const;

const cleanup = new AsyncDisposableStack();
let rig: XdsRig;
const ports: Record<string, number> = {};

function encoded<Desc extends DescMessage>(
  type: Parameters<typeof typeUrlOf>[0],
  name: string,
  schema: Desc,
  message: MessageInitShape<Desc>,
) {
  return { typeUrl: typeUrlOf(type), name, bytes: toBinary(schema, create(schema, message)) };
}

/** A server whose answer is its name. */
async function startEcho(name: string): Promise<void> {
  const server = new Server();
  const say = {
    path: PATH,
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  } as const;
  server.addService(
    { say },
    { say: (_: unknown, respond: (e: null, b: Buffer) => void) => respond(null, Buffer.from(name)) },
  );
  ports[name] = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
  cleanup.defer(() => server.forceShutdown());
}

const cluster = (name: string) =>
  encoded("CDS", name, ClusterSchema, {
    name,
    clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.EDS },
    edsClusterConfig: { edsConfig: ads },
    lrsServer: { configSourceSpecifier: { case: "self", value: {} } },
  });

const endpoints = (clusterName: string, server: string) => {
  const socketAddress = {
    address: "127.0.0.1",
    portSpecifier: { case: "portValue", value: ports[server] ?? 0 },
  } as const;
  const endpoint = { address: { address: { case: "socketAddress", value: socketAddress } } } as const;
  return encoded("EDS", clusterName, ClusterLoadAssignmentSchema, {
    clusterName,
    endpoints: [
      {
        locality: { region: "here" },
        loadBalancingWeight: 1,
        lbEndpoints: [{ hostIdentifier: { case: "endpoint", value: endpoint } }],
      },
    ],
  });
};

const routes = (to: string) =>
  encoded("RDS", "routes", RouteConfigurationSchema, {
    name: "routes",
    virtualHosts: [
      {
        name: "all",
        domains: ["*"],
        routes: [
          {
            match: { pathSpecifier: { case: "prefix", value: "" } },
            action: { case: "route", value: { clusterSpecifier: { case: "cluster", value: to } } },
          },
        ],
      },
    ],
  });

const listener = () => {
  const router = {
    name: "router",
    configType: { case: "typedConfig", value: anyPack(RouterSchema, create(RouterSchema)) },
  } as const;
  const manager = create(HttpConnectionManagerSchema, {
    routeSpecifier: { case: "rds", value: { routeConfigName: "routes", configSource: ads } },
    httpFilters: [router],
  });
  return encoded("LDS", TARGET, ListenerSchema, {
    name: TARGET,
    apiListener: { apiListener: anyPack(HttpConnectionManagerSchema, manager) },
  });
};

beforeAll(async () => {
  await startEcho("one");
  await startEcho("two");
  rig = await startXdsRig([listener(), routes("a"), cluster("a"), endpoints("a", "one")]);
  cleanup.defer(() => rig[Symbol.asyncDispose]());
  process.env["GRPC_XDS_BOOTSTRAP_CONFIG"] = JSON.stringify({
    xds_servers: [
      { server_uri: rig.server.address, channel_creds: [{ type: "insecure" }], server_features: ["xds_v3"] },
    ],
    // It wants a locality.
    node: { id: "grpc", cluster: "default", locality: { zone: "here" } },
  });
  (await import("@grpc/grpc-js-xds")).register();
});
afterAll(() => cleanup.disposeAsync());

test("calls go where the resources say, and follow when they change", async () => {
  const client = new Client(`xds:///${TARGET}`, credentials.createInsecure());
  cleanup.defer(() => client.close());
  const say = () =>
    new Promise<string>((resolve, reject) => {
      const deadline = Date.now() + 60_000;
      client.makeUnaryRequest(PATH, asIs, asIs, Buffer.alloc(0), { deadline }, (error, answer) => {
        if (error === null) resolve(String(answer));
        else reject(error);
      });
    });
  expect(await say()).toBe("one");
  rig.change(endpoints("a", "two"));
  await waitFor("the other endpoint", async () => (await say()) === "two");
  rig.change(routes("b"), cluster("b"), endpoints("b", "one"));
  await waitFor("the other cluster", async () => (await say()) === "one");
  // L1: it reports its calls to the server that it has its clusters from.
  await waitFor("the load of both clusters", () => {
    const calls = (name: string) => rig.loads.list().find(({ cluster: of }) => of === name)?.successful ?? 0;
    return calls("a") >= 2 && calls("b") >= 1;
  });
  const [node] = await rig.nodesAre(([each]) => each?.state === "synced");
  expect(node?.kind).toMatch(/^grpc/i);
  // It never asked for everything (S12): the cluster that it no longer needs was let go.
  const clusters = node?.types.find(({ typeUrl }) => typeUrl === typeUrlOf("CDS"));
  await waitFor("the first cluster to be let go", async () => {
    const [now] = rig.nodes.list();
    return now?.types.find(({ typeUrl }) => typeUrl === clusters?.typeUrl)?.resources === 1;
  });
  expect(node?.types.map(({ nack }) => nack).join("")).toBe("");
});
