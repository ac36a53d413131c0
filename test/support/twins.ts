/** The same listeners and clusters, written as Envoy's JSON, on a real Envoy and on the native proxy's data path in this process. */
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";

import { fromJson, type JsonObject, toBinary } from "@bufbuild/protobuf";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { registry } from "#proto/registry.ts";
import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import { breakerSamples } from "../../proxy/breaker-stats.ts";
import { ListenerSet } from "../../proxy/listener-set.ts";
import type { ListenerOptions } from "../../proxy/listen/options.ts";
import { prometheusText, statsValues } from "../../proxy/observe/prometheus.ts";
import { StatsReader } from "../../proxy/observe/stats-reader.ts";
import { StatsStore } from "../../proxy/observe/stats.ts";
import { validateResource } from "../../proxy/parts.ts";
import { type RuntimeUpdate, WorkerRuntime } from "../../proxy/runtime.ts";
import { supportedFields } from "../../proxy/supported-fields.ts";
import { decodeResource } from "../../proxy/xds/decode.ts";
import { temporaryDir } from "./gateway.ts";
import { type Answer, type Ask, ask } from "./http.ts";
import { freePort } from "./ports.ts";
import { Program } from "./processes.ts";
import { envoy } from "./tools.ts";
import { waitFor } from "./wait.ts";

/** One HttpConnectionManager, without what all have: stat_prefix, router and codec. `$LOG` in it stands for the side's log folder. */
export type Manager = JsonObject;

export interface TwinsOptions {
  /** By listener name. */
  readonly listeners: Readonly<Record<string, Manager>>;
  /** Further listeners by name, as whole Listener messages without name and address. */
  readonly whole?: Readonly<Record<string, JsonObject>>;
  /** Clusters by name: a port of 127.0.0.1, or the whole message without its name. */
  readonly clusters: Readonly<Record<string, number | JsonObject>>;
  /** gRPC collectors by cluster name: their ports. */
  readonly collectors?: Readonly<Record<string, number>>;
}

/** Both sides at work. */
export interface Twins {
  /** The port of a listener. */
  readonly ports: Readonly<Record<"native" | "envoy", Readonly<Record<string, number>>>>;
  /** Asks both sides the same. */
  ask(listener: string, request?: Ask): Promise<{ native: Answer; envoy: Answer }>;
  /** The lines of a log file in $LOG once both sides have so many. */
  lines(file: string, count: number): Promise<{ native: string[]; envoy: string[] }>;
  /** /stats/prometheus of both. */
  prometheus(): Promise<{ native: string; envoy: string }>;
  /** /stats of both, as name and value. */
  stats(): Promise<{ native: Map<string, string>; envoy: Map<string, string> }>;
  stop(): Promise<void>;
}

const HTTP_CONNECTION_MANAGER =
  "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

const http2 = {
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    explicitHttpConfig: { http2ProtocolOptions: {} },
  },
};

/** A listener on 127.0.0.1 with one HttpConnectionManager. */
export const listenerJson = (name: string, port: number, manager: Manager): JsonObject => ({
  name,
  address: { socketAddress: { address: "127.0.0.1", portValue: port } },
  filterChains: [
    {
      filters: [
        {
          name: "envoy.filters.network.http_connection_manager",
          typedConfig: {
            "@type": HTTP_CONNECTION_MANAGER,
            statPrefix: name,
            httpFilters: [{ name: "envoy.filters.http.router", typedConfig: { "@type": ROUTER } }],
            ...manager,
          },
        },
      ],
    },
  ],
});

/** A STATIC cluster of one endpoint on 127.0.0.1. */
export const clusterJson = (name: string, port: number | JsonObject): JsonObject => ({
  name,
  ...(typeof port === "number"
    ? {
        type: "STATIC",
        connectTimeout: "60s",
        loadAssignment: {
          clusterName: name,
          endpoints: [
            {
              lbEndpoints: [{ endpoint: { address: { socketAddress: { address: "127.0.0.1", portValue: port } } } }],
            },
          ],
        },
      }
    : port),
});

/** Encodes a resource and judges it as the proxy does; throws what it finds wrong. */
export function updateOf(shortName: ResourceType["shortName"], json: JsonObject): RuntimeUpdate {
  const type = resourceType(shortName);
  const name = json["name"] as string;
  const bytes = toBinary(type.schema, fromJson(type.schema, json, { registry }));
  const decoded = decodeResource(type, name, bytes, { fields: supportedFields, validate: validateResource });
  if (!decoded.ok)
    throw new Error(`${name}: ${decoded.problems.map((one) => `${one.field}: ${one.message}`).join("; ")}`);
  return { typeUrl: type.typeUrl, name, bytes };
}

/** Starts both sides. */
export async function startTwins(options: TwinsOptions): Promise<Twins> {
  const dir = await temporaryDir();
  const stopping: (() => Promise<unknown>)[] = [() => dir.remove()];
  const stop = async () => {
    for (const each of stopping.toReversed()) await each();
  };
  try {
    const names = [...Object.keys(options.listeners), ...Object.keys(options.whole ?? {})];
    const ports: Record<"native" | "envoy", Record<string, number>> = { native: {}, envoy: {} };
    for (const side of ["native", "envoy"] as const) {
      await mkdir(join(dir.path, side));
      for (const name of names) ports[side][name] = await freePort();
    }
    const resources = (side: "native" | "envoy") => ({
      listeners: [
        ...Object.entries(options.listeners).map(([name, manager]) =>
          listenerJson(
            name,
            ports[side][name] as number,
            JSON.parse(JSON.stringify(manager).replaceAll("$LOG", join(dir.path, side))) as Manager,
          ),
        ),
        ...Object.entries(options.whole ?? {}).map(([name, listener]) => ({
          ...listener,
          ...{ name, address: { socketAddress: { address: "127.0.0.1", portValue: ports[side][name] as number } } },
        })),
      ],
      clusters: [
        ...Object.entries(options.clusters).map(([name, port]) => clusterJson(name, port)),
        // Envoy speaks HTTP/2 to a cluster only if it is told to; the native proxy's collectors always do.
        ...Object.entries(options.collectors ?? {}).map(([name, port]) => ({
          ...clusterJson(name, port),
          ...(side === "envoy" && { typedExtensionProtocolOptions: http2 }),
        })),
      ],
    });

    const native = await startNative(resources("native"));
    stopping.push(() => native.stop());
    const adminPort = await freePort();
    const program = await startEnvoyWith(resources("envoy"), adminPort, names.length);
    stopping.push(() => program.stop());

    const linesOf = async (side: string, file: string) => {
      const path = join(dir.path, side, file);
      return existsSync(path) ? (await readFile(path, "utf8")).split("\n").filter((line) => line !== "") : [];
    };
    // Its connections stay however long nobody asks, as Node's own agent's don't: how many there were is compared.
    const agent = new http.Agent({ keepAlive: true });
    stopping.push(async () => agent.destroy());
    return {
      ports,
      async ask(listener, request) {
        const of = (side: "native" | "envoy") => ask(ports[side][listener] as number, { agent, ...request });
        return { native: await of("native"), envoy: await of("envoy") };
      },
      lines: (file, count) =>
        waitFor(`${count} lines in ${file}`, async () => {
          const both = { native: await linesOf("native", file), envoy: await linesOf("envoy", file) };
          return both.native.length >= count && both.envoy.length >= count ? both : undefined;
        }),
      prometheus: async () => ({
        native: prometheusText(native.samples()),
        envoy: (await ask(adminPort, { path: "/stats/prometheus" })).body,
      }),
      async stats() {
        const text = (await ask(adminPort, { path: "/stats" })).body;
        const pairs = text.split("\n").map((line) => line.split(": ", 2) as [string, string]);
        const own = [...statsValues(native.samples())].map(([name, value]) => [name, String(value)] as const);
        return { native: new Map(own), envoy: new Map(pairs) };
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startNative(resources: { listeners: JsonObject[]; clusters: JsonObject[] }) {
  const reader = new StatsReader();
  const stats = new StatsStore((message) => reader.take(0, message));
  const failed: Error[] = [];
  const changed = (name: string, to: ListenerOptions | undefined) => listeners.set(name, to);
  const runtime: WorkerRuntime = new WorkerRuntime(stats, changed, 0, { id: "native", cluster: "twins" });
  const listeners: ListenerSet = new ListenerSet({ runtime }, 0, (_, error) => failed.push(error));
  await runtime.apply([
    ...resources.clusters.map((json) => updateOf("CDS", json)),
    ...resources.listeners.map((json) => updateOf("LDS", json)),
  ]);
  await listeners.settled();
  if (failed[0] !== undefined) throw failed[0];
  const clusters = new Map(
    resources.clusters.map((json) => {
      const message = fromJson(ClusterSchema, json, { registry });
      return [message.name, { name: message.name, version: "", updatedMs: 0, bytes: new Uint8Array(), message }];
    }),
  );
  const active = (type: ResourceType) => (type === resourceType("CDS") ? clusters : new Map());
  return {
    *samples() {
      yield* reader.samples();
      yield* breakerSamples(active, 1, reader.gauges("cluster"));
    },
    async stop() {
      await listeners.drain(0);
      await runtime.close();
    },
  };
}

async function startEnvoyWith(
  resources: { listeners: JsonObject[]; clusters: JsonObject[] },
  adminPort: number,
  count: number,
): Promise<Program> {
  const bootstrap = {
    node: { id: "envoy", cluster: "twins" },
    admin: { address: { socketAddress: { address: "127.0.0.1", portValue: adminPort } } },
    staticResources: resources,
  };
  const program = new Program(await envoy(), [
    ...["--config-yaml", JSON.stringify(bootstrap)],
    ...["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn", "--file-flush-interval-msec", "100"],
  ]);
  try {
    await waitFor(
      "Envoy to serve",
      async () => {
        if (program.exited) throw new Error(`it ended: ${program.stderr}`);
        const { body } = await ask(adminPort, { path: "/stats?filter=total_listeners_active|workers_started" });
        return body.includes(`total_listeners_active: ${count}`) && body.includes("workers_started: 1");
      },
      60_000,
    );
  } catch (error) {
    await program.stop("SIGKILL");
    throw error;
  }
  return program;
}
