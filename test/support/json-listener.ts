import { fromJson, type JsonObject } from "@bufbuild/protobuf";

import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { registry } from "#proto/registry.ts";

import { compileListener } from "../../proxy/listen/compile.ts";
import { type ListenContext, type RunningListener, startListener } from "../../proxy/listen/listener.ts";
import type { ListenerOptions } from "../../proxy/listen/options.ts";
import { LogSinks } from "../../proxy/observe/file-sink.ts";
import { compileSecret, type Secret } from "../../proxy/tls/secret.ts";
import { TestStats } from "./test-stats.ts";

/** A filter chain that answers every request with a text; `more`: its match, transport socket and so on. */
export const answering = (text: string, more: JsonObject = {}): JsonObject => ({
  filters: [
    {
      name: "hcm",
      typedConfig: {
        "@type":
          "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        statPrefix: "http",
        routeConfig: {
          virtualHosts: [
            {
              name: "all",
              domains: ["*"],
              routes: [{ match: { prefix: "/" }, directResponse: { status: 200, body: { inlineString: text } } }],
            },
          ],
        },
        httpFilters: [
          {
            name: "router",
            typedConfig: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
          },
        ],
      },
    },
  ],
  ...more,
});

/** A transport socket with a DownstreamTlsContext. */
export const downstreamTls = (commonTlsContext: JsonObject, more: JsonObject = {}): JsonObject => ({
  transportSocket: {
    name: "tls",
    typedConfig: {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
      commonTlsContext,
      ...more,
    },
  },
});

/** A certificate as an inline TlsCertificate. */
export const inlineCertificate = ({ cert, key }: { cert: string; key: string }): JsonObject => ({
  certificateChain: { inlineString: cert },
  privateKey: { inlineString: key },
});

/** References to secrets by ADS. */
export const bySds = (...names: string[]): JsonObject[] => names.map((name) => ({ name, sdsConfig: { ads: {} } }));

/** Compiles a Listener on 127.0.0.1:0 with these filter chains. */
export function compileJson(filterChains: readonly JsonObject[], more: JsonObject = {}) {
  const json = {
    name: "test",
    address: { socketAddress: { address: "127.0.0.1", portValue: 0 } },
    filterChains: [...filterChains],
    ...more,
  };
  return compileListener(fromJson(ListenerSchema, json, { registry }), new LogSinks());
}

/** The same, which must be good. */
export function listenerOptions(filterChains: readonly JsonObject[], more: JsonObject = {}): ListenerOptions {
  const compiled = compileJson(filterChains, more);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  return compiled.value;
}

/** A real listener on a free port with secrets that tests change. */
export class JsonListener implements AsyncDisposable {
  readonly #running: RunningListener;
  readonly #secrets: Map<string, Secret>;

  readonly stats: TestStats;

  private constructor(running: RunningListener, secrets: Map<string, Secret>, stats: TestStats) {
    this.stats = stats;
    this.#running = running;
    this.#secrets = secrets;
  }

  static async start(
    filterChains: readonly JsonObject[],
    more: JsonObject = {},
    context: Partial<ListenContext> = {},
  ): Promise<JsonListener> {
    const secrets = new Map<string, Secret>();
    const stats = new TestStats();
    const runtime = {
      stats,
      cluster: () => undefined,
      routeTable: () => undefined,
      secret: (name: string) => secrets.get(name),
    };
    const running = await startListener(listenerOptions(filterChains, more), { runtime, ...context });
    return new JsonListener(running, secrets, stats);
  }

  get port(): number {
    return this.#running.port;
  }

  get running(): RunningListener {
    return this.#running;
  }

  /** A new version of a secret. */
  setSecret(name: string, json: JsonObject): void {
    const compiled = compileSecret(fromJson(SecretSchema, { name, ...json }));
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
    this.#secrets.set(name, compiled.value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.close();
  }
}
