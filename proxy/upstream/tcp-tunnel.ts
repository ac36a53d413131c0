import type { Socket } from "node:net";

import type { Endpoint } from "../cluster/cluster.ts";
import type { Stream } from "../filters/stream.ts";
import { Headers } from "../headers.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import { replies, type ResetReason, upstreamReset } from "../reply.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { describeFailure, openSocket } from "./dial.ts";
import { clientTls } from "./tls.ts";
import type { UpstreamRequest } from "./upstream-request.ts";

const OK = 200;

/**
 * A CONNECT that ends here (Envoy's connect_config): the client gets 200 once there is a connection to an endpoint of the cluster, and from then on
 * its bytes go to that connection as they are. The connection serves this one tunnel.
 */
export class TcpTunnel implements UpstreamRequest, TimerOwner {
  readonly #stream: Stream;
  readonly #cluster: ClusterContext;
  readonly #hash: bigint | undefined;
  readonly #timer = new Timer(this, 0);
  #endpoint: Endpoint | undefined = undefined;
  #socket: Socket | undefined = undefined;
  #open = false;
  #failure = "";
  #ended = false;

  constructor(stream: Stream, cluster: ClusterContext, hash: bigint | undefined) {
    this.#stream = stream;
    this.#cluster = cluster;
    this.#hash = hash;
  }

  start(): void {
    const { cluster, statName, stats } = this.#cluster;
    const { record } = this.#stream;
    record.upstreamCluster = statName;
    record.upstreamClusterRaw = cluster.name;
    if (cluster.load.connections >= cluster.settings.breakers.maxConnections) {
      stats.upstream_cx_overflow.inc();
      this.#ended = true;
      return this.#stream.reply(upstreamReset("overflow", "", false));
    }
    const endpoint = cluster.pick(this.#hash, undefined, 1);
    if (endpoint === undefined) {
      stats.upstream_cx_none_healthy.inc();
      this.#ended = true;
      return this.#stream.reply(replies.noHealthyUpstream);
    }
    this.#endpoint = endpoint;
    endpoint.activeRequests++;
    cluster.load.connections++;
    stats.upstream_cx_total.inc();
    stats.upstream_cx_active.inc();
    record.upstreamHost = endpoint.key;
    record.attempts = 1;
    const { settings } = cluster;
    timers.schedule(this.#timer, settings.connectTimeoutMs);
    this.#socket = openSocket({
      endpoint,
      tls: settings.tls && clientTls(this.#cluster, settings.tls),
      serverName: "",
      alpn: [],
      keepaliveMs: settings.tcpKeepaliveMs,
      onReady: () => this.#onConnect(),
      onRead: (bytes, length) => this.#onRead(bytes, length),
    })
      .on("error", (error) => (this.#failure = describeFailure(error)))
      .on("drain", () => this.#stream.resumeRequest())
      .on("end", () => this.#onEnd())
      .on("close", () => this.#onClose());
  }

  #onConnect(): void {
    timers.cancel(this.#timer);
    if (this.#ended) return;
    this.#open = true;
    this.#stream.onUpstreamConnected(new Headers(), OK);
    this.#stream.flushResponse();
  }

  #onRead(bytes: Buffer, length: number): void {
    this.#cluster.stats.upstream_cx_rx_bytes_total.inc(length);
    if (!this.#stream.onUpstreamData(bytes, 0, length)) this.#socket?.pause();
    this.#stream.flushResponse();
  }

  onRequestData(piece: Buffer): void {
    if (this.#socket?.write(piece) === false) this.#stream.pauseRequest();
  }

  onRequestEnd(): void {
    // Also called when the head, which is all of a CONNECT, is there.
    if (this.#open) this.#socket?.end();
  }

  onDownstreamWritable(): void {
    this.#socket?.resume();
  }

  flushRequest(): void {
    // Each piece was written when it came.
  }

  abort(): void {
    this.#ended = true;
    this.#socket?.destroy();
  }

  /** No time is given for a response: there is none. */
  onResponseOverdue(): void {}

  onTimer(): void {
    this.#cluster.stats.upstream_cx_connect_timeout.inc();
    this.#fail("connection timeout");
    this.#socket?.destroy();
  }

  #onEnd(): void {
    if (this.#ended) return;
    this.#stream.onUpstreamEnd();
    this.#stream.flushResponse();
  }

  #fail(reason: ResetReason): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cluster.stats.upstream_cx_connect_fail.inc();
    if (this.#failure !== "") this.#stream.record.upstreamTransportFailure = this.#failure;
    this.#stream.reply(upstreamReset(reason, this.#failure, false));
  }

  #onClose(): void {
    timers.cancel(this.#timer);
    const { cluster, stats } = this.#cluster;
    cluster.load.connections--;
    if (this.#endpoint !== undefined) this.#endpoint.activeRequests--;
    stats.upstream_cx_active.dec();
    stats.upstream_cx_destroy.inc();
    if (!this.#open) return this.#fail("remote connection failure");
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.onUpstreamCut("connection termination");
  }
}
