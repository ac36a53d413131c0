/** A data path without a control plane: real listener, real sockets, and a runtime of literal values. */
import { once } from "node:events";
import { createServer as createHttp, type RequestListener } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

import type { Cluster, ClusterSettings, Endpoint, UpstreamTls } from "../../proxy/cluster/cluster.ts";
import { http2Defaults } from "../../proxy/cluster/http2-options.ts";
import type { Runtime } from "../../proxy/listen/context.ts";
import { edgeDefaults } from "../../proxy/http2/options.ts";
import { type RunningListener, startListener } from "../../proxy/listen/listener.ts";
import type { HttpOptions, ListenerOptions } from "../../proxy/listen/options.ts";
import type { RequestRecord } from "../../proxy/observe/access-log.ts";
import { NO_MUTATIONS } from "../../proxy/route/header-mutations.ts";
import type { ForwardAction, RetryPolicy, Route } from "../../proxy/route/route.ts";
import type { Secret } from "../../proxy/tls/secret.ts";
import { TestStats } from "./test-stats.ts";

/** An endpoint on 127.0.0.1. */
export const endpointAt = (port: number): Endpoint => ({
  address: "127.0.0.1",
  port,
  key: `127.0.0.1:${port}`,
  hostname: "",
  additionalAddresses: [],
  labels: [new Map(), new Map()],
  hashKey: `127.0.0.1:${port}`,
  canary: false,
  weight: 1,
  priority: 0,
  healthy: true,
  alive: true,
  activeRequests: 0,
  pool: undefined,
});

/** A cluster that takes its endpoints in turn, and those of `avoid` last. */
export function clusterOf(endpoints: Endpoint[], settings: Partial<ClusterSettings> = {}): Cluster {
  let turn = 0;
  return {
    name: "upstream",
    settings: {
      statName: "upstream",
      // A machine with a hundred other things to do takes its time, and a test that waits for a timeout says so.
      connectTimeoutMs: 60_000,
      tls: undefined,
      breakers: { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 },
      highBreakers: { maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024, maxRetries: 3 },
      idleTimeoutMs: 3_600_000,
      maxRequestsPerConnection: 0,
      maxConnectionDurationMs: 0,
      protocol: "http1",
      http2: http2Defaults,
      tcpKeepaliveMs: undefined,
      ...settings,
    },
    pick(_hash, avoid) {
      const fresh = endpoints.filter((endpoint) => avoid?.has(endpoint) !== true);
      const from = fresh.length > 0 ? fresh : endpoints;
      return from[turn++ % from.length];
    },
    endpoints: () => endpoints,
    panics: undefined,
    load: { connections: 0, pending: 0, requests: 0, retries: 0 },
    highLoad: { connections: 0, pending: 0, requests: 0, retries: 0 },
  };
}

/** TLS towards an origin whose certificate nobody looks at. */
export const upstreamTls: UpstreamTls = {
  sni: "origin.test",
  autoSni: false,
  autoSanValidation: false,
  certificate: undefined,
  validation: [],
  alpnProtocols: [],
  resumesSessions: true,
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  ciphers: undefined,
  ecdhCurve: undefined,
  sigalgs: undefined,
};

export const forwardAction = (changes: Partial<ForwardAction> = {}): ForwardAction => ({
  cluster: () => "upstream",
  clusterNotFoundStatus: 503,
  timeoutMs: 15_000,
  idleTimeoutMs: undefined,
  retry: undefined,
  rewritePath: undefined,
  hostRewrite: undefined,
  hash: undefined,
  upgrades: new Map(),
  ...changes,
});

export const retryPolicy = (on: string[], changes: Partial<RetryPolicy> = {}): RetryPolicy => ({
  on: new Set(on),
  numRetries: 1,
  perTryTimeoutMs: 0,
  perTryIdleTimeoutMs: 0,
  retriableStatusCodes: new Set(),
  applies: () => true,
  backOffBaseMs: 1,
  backOffMaxMs: 10,
  hostSelectionAttempts: 3,
  ...changes,
});

const HTTP: HttpOptions = {
  statPrefix: "http",
  routeConfigName: "routes",
  codec: "auto",
  http2: edgeDefaults,
  serverName: "sluice",
  serverHeader: "overwrite",
  maxRequestHeadersKb: 60,
  maxHeadersCount: 100,
  connectionIdleTimeoutMs: 3_600_000,
  streamIdleTimeoutMs: 300_000,
  requestTimeoutMs: 0,
  requestHeadersTimeoutMs: 0,
  delayedCloseTimeoutMs: 1_000,
  drainTimeoutMs: 5_000,
  maxConnectionDurationMs: 0,
  maxStreamDurationMs: 0,
  maxRequestsPerConnection: 0,
  headersWithUnderscores: "allow",
  normalizePath: true,
  mergeSlashes: false,
  escapedSlashes: "keep",
  stripMatchingHostPort: false,
  stripAnyHostPort: false,
  stripTrailingHostDot: false,
  useRemoteAddress: true,
  skipXffAppend: false,
  generateRequestId: true,
  preserveExternalRequestId: false,
  alwaysSetRequestIdInResponse: false,
  acceptHttp10: false,
  via: "",
  upgrades: new Map([["websocket", false]]),
  accessLogs: [],
};

/** What a test changes of the default data path: one route "/" to one cluster. */
export interface DataPathOptions {
  http?: Partial<HttpOptions>;
  action?: Partial<ForwardAction>;
  route?: Route["action"] | null;
  cluster?: Cluster | null;
  /** Further clusters, by name. */
  clusters?: Readonly<Record<string, Cluster>>;
  /** By name; may change while it runs. */
  secrets?: ReadonlyMap<string, Secret>;
}

/** A running data path with what it logged and counted. */
export class DataPath implements AsyncDisposable {
  readonly records: RequestRecord[] = [];
  readonly stats = new TestStats();
  listener!: RunningListener;
  runtime!: Runtime;
  readonly #changes: DataPathOptions;
  #changed = 0;

  constructor(changes: DataPathOptions) {
    this.#changes = changes;
  }

  static async start(changes: DataPathOptions): Promise<DataPath> {
    const path = new DataPath(changes);
    const { route, cluster } = changes;
    const action = route ?? { kind: "forward", forward: forwardAction(changes.action) };
    path.runtime = {
      stats: path.stats,
      secret: (name) => changes.secrets?.get(name),
      cluster: (name) => (name === "upstream" ? (cluster ?? undefined) : changes.clusters?.[name]),
      routeTable: (name) =>
        name === "routes"
          ? {
              name,
              match: () =>
                route === null ? undefined : { name: "r", virtualHost: "v", mutations: NO_MUTATIONS, action },
            }
          : undefined,
    };
    path.listener = await startListener(path.options(), { runtime: path.runtime });
    return path;
  }

  options(http: Partial<HttpOptions> = {}): ListenerOptions {
    const accessLogs = [{ write: (record: RequestRecord) => void this.records.push(record) }];
    return {
      name: "test",
      address: "127.0.0.1",
      port: 0,
      backlog: 511,
      chains: [{ id: String(this.#changed++), http: { ...HTTP, accessLogs, ...this.#changes.http, ...http } }],
    };
  }

  get port(): number {
    return this.listener.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.listener.close();
  }
}

/** A TCP server that runs while the test does. */
export class TestServer implements AsyncDisposable {
  readonly server: Server;
  readonly sockets = new Set<Socket>();
  /** Connections accepted so far. */
  accepted = 0;

  constructor(server: Server) {
    this.server = server;
    server.on("connection", (socket: Socket) => {
      this.accepted++;
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("error", () => {});
    });
  }

  static async listen(server: Server): Promise<TestServer> {
    const test = new TestServer(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return test;
  }

  /** Serves HTTP by Node's own server. */
  static http(handler: RequestListener): Promise<TestServer> {
    return TestServer.listen(createHttp({ keepAliveTimeout: 0 }, handler));
  }

  /** Hands over each connection. */
  static raw(handler: (socket: Socket) => void, allowHalfOpen = false): Promise<TestServer> {
    return TestServer.listen(createServer({ allowHalfOpen, noDelay: true }, handler));
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.server, "close");
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}
