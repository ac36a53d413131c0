// As a global it is looked up each time.
import { performance } from "node:perf_hooks";

import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";

import type { ServedType } from "#proto/resource-types.ts";

import { MetricsRegistry } from "../observe/metrics.ts";
import type { ResourceCache } from "./cache.ts";
import { Candidates } from "./candidates.ts";
import { ConnectedClients } from "./connected-clients.ts";
import type { XdsTls } from "./credentials.ts";
import { type CallHandler, callRouter, pathOf } from "./calls.ts";
import { fetchMethods } from "./fetch-services.ts";
import { FirstSyncs } from "./first-sync.ts";
import { JoinGuard } from "./join.ts";
import { Http2Connections } from "./http2-connections.ts";
import { introspection } from "./introspection.ts";
import { defaultLimits, type XdsLimits } from "./limits.ts";
import { bracketed, listen } from "./listen.ts";
import { registerXdsMetrics } from "./metrics.ts";
import type { PortMethod, PortService } from "./port-service.ts";
import type { StreamProtocol } from "./protocol.ts";
import { restHandler } from "./rest.ts";
import { Publications } from "./publications.ts";
import type { RawCall } from "./raw-call.ts";
import { methods } from "./services.ts";
import type { NodeRegistry } from "./status.ts";
import type { StreamContext } from "./stream-context.ts";
import { XdsStream } from "./stream.ts";
import { Turns } from "./turns.ts";

export interface XdsServerOptions {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly cache: ResourceCache;
  readonly nodes: NodeRegistry;
  readonly log: Logger;
  /** Not set: plain text. */
  readonly tls?: XdsTls | undefined;
  /** Views of single data planes. Default: all are served what the cache has. */
  readonly candidates?: Candidates | undefined;
  /** Numbers what is written to the cache as a publication. Default: nothing is followed. */
  readonly publications?: Publications | undefined;
  /** Who may join which gateway group. Default: everybody. */
  readonly join?: JoinGuard | undefined;
  /** Where the server's metrics are added. One registry takes one server. */
  readonly metrics?: MetricsRegistry;
  readonly limits?: Partial<XdsLimits>;
  /** Where open streams are listed, for reports. */
  readonly clients?: ConnectedClients;
  /** What the port offers besides discovery, health and reflection. */
  readonly services?: readonly PortService[];
}

export interface XdsServer {
  /** "host:port", with the port that is really listened on. */
  readonly address: string;
  /** Streams that are open now. */
  readonly streams: number;
  /** Takes new certificates on a server that speaks TLS; open connections keep the old ones. */
  setTls(tls: XdsTls): void;
  /** Ends all streams with UNAVAILABLE, so that clients look for another server, and stops listening. */
  close(graceMs?: number): Promise<void>;
}

/**
 * Serves a cache to data planes, on the aggregated service and on those of single types. A node's gateway group is its `node.cluster`; one
 * that doesn't exist is no error: the stream gets nothing until it does.
 *
 * @throws Error if the address cannot be listened on
 */
export async function startXdsServer(options: XdsServerOptions): Promise<XdsServer> {
  const limits: XdsLimits = { ...defaultLimits, ...options.limits };
  const streams = new Set<XdsStream>();
  const join = options.join ?? new JoinGuard(false);
  const startMs = performance.timeOrigin;
  const context: StreamContext = {
    join,
    firstSyncs: new FirstSyncs({ perSecond: limits.firstSyncsPerSecond, burst: limits.firstSyncsBurst }),
    cache: options.cache,
    candidates: options.candidates ?? new Candidates(options.cache),
    nodes: options.nodes,
    clients: options.clients ?? new ConnectedClients(),
    publications: options.publications ?? new Publications(),
    log: options.log,
    metrics: registerXdsMetrics(options.metrics ?? new MetricsRegistry(), options.nodes, () => streams.size),
    limits,
    turns: new Turns(),
    now: () => Math.floor(startMs + performance.now()),
  };
  /** Who can join no gateway group at all takes no place from those who can, and nothing of it is read. */
  const membersOnly = (serve: (call: RawCall) => void) => (call: RawCall) => {
    const refusal = join.strangerRefusal(call.credentials);
    if (refusal === undefined) return serve(call);
    const { code, details } = refusal;
    options.log.info({ address: call.peer, code: status[code], details }, "call refused on the xDS port");
    call.end(code, details);
  };
  const open = (call: RawCall, protocol: StreamProtocol, onlyType: ServedType | undefined) => {
    if (streams.size >= limits.streamsMax) {
      call.end(status.RESOURCE_EXHAUSTED, `${limits.streamsMax} streams are open already`);
      return;
    }
    const stream = new XdsStream(call, protocol, onlyType, context, () => streams.delete(stream));
    streams.add(stream);
  };
  const discovery = { messageBytesMax: limits.requestBytesMax, bytesMax: limits.incomingBytesMax, bytes: 0 };
  const reports = { messageBytesMax: limits.reportBytesMax, bytesMax: limits.incomingBytesMax, bytes: 0 };
  const handlers = new Map<string, CallHandler>();
  for (const [method, protocol, onlyType] of methods) {
    const stream = membersOnly((call) => open(call, protocol, onlyType));
    handlers.set(pathOf(method), { open: stream, incoming: discovery, direct: true });
  }
  const offered = options.services ?? [];
  const services = [...new Set(methods.map(([{ parent }]) => parent)), ...offered.map(({ service }) => service)];
  const forEverybody = introspection(services);
  const all = [...offered, ...forEverybody];
  const add = (each: PortMethod, guard: typeof membersOnly) => {
    const serve = guard((call) => each.serve(call, options.log));
    handlers.set(pathOf(each.method), { open: serve, incoming: reports, direct: false });
  };
  for (const each of [...fetchMethods(context), ...offered.flatMap((service) => service.methods)])
    add(each, membersOnly);
  // Neither tells of resources, and load balancers have no token.
  for (const each of forEverybody.flatMap((service) => service.methods)) add(each, (serve) => serve);

  const { host, tls } = options;
  const { connectionsMax, connectionIdleMs: idleMs } = limits;
  const { connectionsRefused, connectionsIdle, callsFailed } = context.metrics;
  const http2 = new Http2Connections({
    limits,
    onStream: callRouter(handlers, reports, (service, code) => callsFailed.add(1, service, status[code])),
    onIdle: () => connectionsIdle.add(),
  });
  const at = { host, port: options.port, connectionsMax, idleMs, onRefused: () => connectionsRefused.add() };
  const { port, setTls, stop } = await listen(http2, at, tls, restHandler(context));
  const stopChecking = join.onChange(() => {
    for (const stream of streams) stream.checkCredentials();
  });
  return {
    address: `${bracketed(host)}:${port}`,
    get streams() {
      return streams.size;
    },
    setTls,
    close: (graceMs = 5_000) => {
      stop();
      stopChecking();
      for (const service of all) service.close?.();
      const closed = http2.close(graceMs);
      for (const stream of streams) stream.end(status.UNAVAILABLE, "the control plane shuts down");
      return closed;
    },
  };
}
