/** A running control plane that is written to by its admin API and spoken to over raw gRPC: all that a stranger has of it. */
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { ServiceError } from "@grpc/grpc-js";
import { status } from "@grpc/grpc-js";

import type { ControlPlaneOptions } from "../../control-plane/main.ts";
import { GatewayService } from "#sluice/admin/v1/gateway_service_pb.ts";
import { servedType } from "#proto/resource-types.ts";

import { authorized, startControlPlane } from "../support/control-plane.ts";
import { RecordingDelta, type RecordingOptions, RecordingSotw } from "../support/xds-client.ts";

export type Running = Awaited<ReturnType<typeof startRunning>>;

/** A service with one upstream, hence one cluster, at an instance whose address is `192.0.2.N`. */
export const service = (name: string, instance = 1) => ({
  name,
  hosts: [`${name}.example.com`],
  upstreams: [{ name: "default", nodes: [{ host: `192.0.2.${instance}`, port: 80 }] }],
  routes: [{ name: "all", paths: ["/*"] }],
});

/** The name of that service's cluster and of its endpoints. */
export const clusterOf = (name: string) => `${name}/default`;

/** Starts a control plane whose group "default" has these services. `await using` it. */
export async function startRunning(services: readonly string[] = [], options: Partial<ControlPlaneOptions> = {}) {
  const plane = await startControlPlane(options);
  const transport = createGrpcTransport({ baseUrl: plane.url, interceptors: [authorized()] });
  const gateways: Client<typeof GatewayService> = createClient(GatewayService, transport);
  const clients: { close(): void }[] = [];
  const kept = <T extends { close(): void }>(client: T): T => {
    clients.push(client);
    return client;
  };
  /** Writes exactly these services; what is not among them goes if `prune`. */
  const apply = async (wanted: readonly ReturnType<typeof service>[], prune = false) =>
    await gateways.apply({ gateway: { services: [...wanted] }, prune });
  if (services.length > 0) {
    await apply(services.map((name) => service(name)));
    // A write is answered once it is kept; a client that came before it is published would be told of nothing first.
    const watcher = new RecordingDelta(plane.xdsAddress, { node: { id: "watcher", cluster: "default" } });
    watcher.send({ typeUrl: servedType("CDS").typeUrl });
    await watcher.until(() => services.every((name) => watcher.held(servedType("CDS").typeUrl).has(clusterOf(name))));
    watcher.halfClose();
    await watcher.end();
    watcher.close();
  }
  return {
    plane,
    gateways,
    apply,
    delta: (of: RecordingOptions = {}) => kept(new RecordingDelta(plane.xdsAddress, of)),
    sotw: (of: RecordingOptions = {}) => kept(new RecordingSotw(plane.xdsAddress, of)),
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close();
      await plane.close();
    },
  };
}

/** How a stream ended, in words. */
export const reason = (ended: Pick<ServiceError, "code" | "details"> | "ok") =>
  ended === "ok" ? "ok" : `${status[ended.code]}: ${ended.details}`;

/** The names of a delta response. */
export const namesIn = (response: { readonly resources: readonly { readonly name: string }[] }) =>
  response.resources.map(({ name }) => name).sort();
