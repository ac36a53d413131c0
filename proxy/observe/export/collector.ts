import http from "node:http";

import type { ClientOptions, ClientWritableStream } from "@grpc/grpc-js";

import { CONTROL_PLANE_CLUSTER } from "#proto/control-plane-cluster.ts";

import { type Cluster, type Endpoint, tlsOf } from "../../cluster/cluster.ts";
import type { DataPathStats, Runtime } from "../../listen/context.ts";
import { TIMEOUT_MS_MAX } from "../../listen/timers.ts";
import { clientTls } from "../../upstream/tls.ts";
import { clusterCredentials, openSecure, type SecureEndpoint } from "./collector-tls.ts";
import { type Channel, type ControlPlaneAccess, controlPlaneChannel } from "./control-plane.ts";

/** What exporters need of the worker that they run in. */
export interface ExportContext {
  cluster(name: string): Cluster | undefined;
  /** What the clusters' TLS is made of. */
  readonly secret: Runtime["secret"];
  /** How the proxy calls itself to collectors: its node id and gateway group. */
  readonly node: { readonly id: string; readonly cluster: string };
  /** What the cluster of the control plane stands for; undefined: there is none. */
  controlPlane(): ControlPlaneAccess | undefined;
  /** Where it is counted what was sent; undefined: nowhere. */
  readonly stats?: DataPathStats;
}

/** An endpoint of the cluster, and how to speak TLS with it if that is what the cluster does; throws if there is none. */
function endpointOf(
  context: ExportContext,
  clusterName: string,
  authority: string,
): { readonly endpoint: Endpoint; readonly secure: SecureEndpoint | undefined } {
  const cluster = context.cluster(clusterName);
  const endpoint = cluster?.pick(undefined);
  if (cluster === undefined || endpoint === undefined) throw new Error(`the cluster ${clusterName} has no endpoint`);
  const { connectTimeoutMs } = cluster.settings;
  const tls = tlsOf(cluster.settings, endpoint);
  const secrets = { secrets: context };
  return { endpoint, secure: tls && { endpoint, authority, connectTimeoutMs, tls: () => clientTls(secrets, tls) } };
}

/** POSTs a body to an endpoint of a cluster; rejects unless the answer is 2xx and comes in time. */
export async function post(
  context: ExportContext,
  target: { readonly cluster: string; readonly host: string; readonly path: string; readonly timeoutMs: number },
  headers: Readonly<Record<string, string>>,
  body: Uint8Array | string,
): Promise<void> {
  const { endpoint, secure } = endpointOf(context, target.cluster, target.host);
  const connection = secure && (await openSecure(secure, "http/1.1"));
  const options = {
    host: endpoint.address,
    port: endpoint.port,
    method: "POST",
    path: target.path,
    headers: { host: target.host, ...headers, "content-length": Buffer.byteLength(body) },
    signal: AbortSignal.timeout(Math.min(TIMEOUT_MS_MAX, Math.ceil(target.timeoutMs))),
    ...(connection && { createConnection: () => connection }),
  };
  await new Promise<void>((resolve, reject) => {
    const request = http.request(options);
    request.on("error", reject);
    request.on("response", (response) => {
      const { statusCode = 0 } = response;
      response.resume();
      response.on("error", reject);
      response.on("end", () => {
        if (statusCode >= 200 && statusCode < 300) resolve();
        else reject(new Error(`${target.cluster} answered ${statusCode}`));
      });
    });
    request.end(body);
  });
}

/** Messages come encoded. */
const identity = (bytes: Buffer) => bytes;

/** A gRPC channel to a cluster; grpc-js reconnects by itself, and another endpoint is taken after a failure. */
export class GrpcCollector {
  readonly #context: ExportContext;
  readonly #cluster: string;
  readonly #authority: string;
  #channel: Channel | undefined;

  /** `authority`: what the collector is called; "": its cluster's name, as Envoy does. */
  constructor(context: ExportContext, cluster: string, authority: string) {
    this.#context = context;
    this.#cluster = cluster;
    this.#authority = authority || cluster;
  }

  /** Sends one message and waits for the answer. */
  async unary(path: string, message: Uint8Array, timeoutMs: number): Promise<void> {
    const { client, metadata } = await this.#connect();
    try {
      await new Promise<void>((resolve, reject) => {
        client.makeUnaryRequest(
          path,
          identity,
          identity,
          Buffer.from(message),
          metadata,
          { deadline: Date.now() + timeoutMs },
          (error) => (error === null ? resolve() : reject(error)),
        );
      });
    } catch (error) {
      this.reset();
      throw error;
    }
  }

  /** Opens a stream from us; `ended` is called once when it is over, for whatever reason. */
  async clientStream(path: string, ended: () => void): Promise<ClientWritableStream<Buffer>> {
    const { client, metadata } = await this.#connect();
    const stream = client.makeClientStreamRequest(path, identity, identity, metadata, () => ended());
    stream.on("error", () => {}); // Told by the callback.
    return stream;
  }

  /** The next call takes another endpoint, if there is one. */
  reset(): void {
    this.#channel?.client.close();
    this.#channel = undefined;
  }

  async #connect(): Promise<Channel> {
    this.#channel ??= await this.#open();
    return this.#channel;
  }

  async #open(): Promise<Channel> {
    if (this.#cluster === CONTROL_PLANE_CLUSTER) {
      const controlPlane = this.#context.controlPlane();
      if (controlPlane === undefined) throw new Error("there is no control plane");
      return await controlPlaneChannel(controlPlane);
    }
    // Loaded when a collector is used: it is large, and most proxies have none.
    const { Client, credentials, Metadata } = await import("@grpc/grpc-js");
    const { endpoint, secure } = endpointOf(this.#context, this.#cluster, this.#authority);
    const options: ClientOptions = {
      "grpc.default_authority": this.#authority,
      "grpc.enable_retries": 0,
      "grpc.use_local_subchannel_pool": 1,
    };
    const channel = secure === undefined ? credentials.createInsecure() : await clusterCredentials(secure);
    return { client: new Client(endpoint.key, channel, options), metadata: new Metadata() };
  }
}
