import type { Socket } from "node:net";

import { type Endpoint, tlsOf } from "../cluster/cluster.ts";
import type { Stream } from "../filters/stream.ts";
import { Headers } from "../headers.ts";
import { replies, type ResetReason, upstreamReset } from "../reply.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { Dial, type Dialler } from "./dial.ts";
import { LastBytes } from "./last-bytes.ts";
import { clientTls } from "./tls.ts";
import type { UpstreamRequest } from "./upstream-request.ts";

const OK = 200;

/**
 * A CONNECT that ends here (Envoy's connect_config): the client gets 200 once there is a connection to an endpoint of the cluster, and from then on
 * its bytes go to that connection as they are. The connection serves this one tunnel.
 */
export class TcpTunnel implements UpstreamRequest, Dialler {
  readonly #stream: Stream;
  readonly #cluster: ClusterContext;
  readonly #hash: bigint | undefined;
  #endpoint: Endpoint | undefined = undefined;
  #dial: Dial | undefined = undefined;
  #socket: Socket | undefined = undefined;
  /** Whether the endpoint has ended its half. */
  #halfEnded = false;
  #ended = false;

  constructor(stream: Stream, cluster: ClusterContext, hash: bigint | undefined) {
    this.#stream = stream;
    this.#cluster = cluster;
    this.#hash = hash;
  }

  start(): void {
    const { cluster, statName, stats, load, breakers, isHigh } = this.#cluster;
    const { record } = this.#stream;
    record.upstreamCluster = statName;
    record.upstreamClusterRaw = cluster.name;
    if (load.connections >= breakers.maxConnections) {
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
    load.connections++;
    stats.upstream_cx_total.inc();
    stats.upstream_cx_active.inc();
    if (isHigh) stats["high.cx_active"].inc();
    record.upstreamHost = endpoint.key;
    record.attempts = 1;
    const { settings } = cluster;
    const tls = tlsOf(settings, endpoint);
    const options = {
      endpoint,
      tls: tls && clientTls(this.#cluster, tls),
      serverName: "",
      alpn: [],
      keepaliveMs: settings.tcpKeepaliveMs,
      connectTimeoutMs: settings.connectTimeoutMs,
      reader: { onRead: (bytes: Buffer, length: number) => this.#onRead(bytes, length) },
    };
    this.#dial = new Dial(options, this);
  }

  onDialled(socket: Socket): void {
    this.#dial = undefined;
    this.#socket = socket
      .on("error", () => {})
      .on("drain", () => this.#stream.resumeRequest())
      .on("end", () => this.#onEnd())
      .on("close", () => this.#onClose());
    this.#stream.onUpstreamConnected(new Headers(), OK);
    this.#stream.flushResponse();
  }

  onDialFailed(reason: ResetReason, transportFailure: string): void {
    const { stats } = this.#cluster;
    this.#dial = undefined;
    this.#ended = true;
    this.#release();
    stats.upstream_cx_connect_fail.inc();
    if (reason === "connection timeout") stats.upstream_cx_connect_timeout.inc();
    if (transportFailure !== "") this.#stream.record.upstreamTransportFailure = transportFailure;
    this.#stream.reply(upstreamReset(reason, transportFailure, false));
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
    this.#socket?.end();
  }

  onDownstreamWritable(): void {
    this.#socket?.resume();
  }

  flushRequest(): void {
    // Each piece was written when it came.
  }

  abort(): void {
    if (this.#ended) return;
    this.#ended = true;
    // Where both halves have ended, what was sent goes out yet, and the connection closes.
    if (this.#halfEnded && this.#stream.requestDone) new LastBytes(this);
    else this.#socket?.destroy();
    if (this.#dial === undefined) return;
    this.#dial.cancel();
    this.#dial = undefined;
    this.#release();
  }

  /** Bytes that the endpoint has not taken yet. */
  get unsentBytes(): number {
    return this.#socket?.writableLength ?? 0;
  }

  abandon(): void {
    this.#socket?.destroy();
  }

  /** No time is given for a response: there is none. */
  onResponseOverdue(): void {}

  #onEnd(): void {
    if (this.#ended) return;
    this.#halfEnded = true;
    this.#stream.onUpstreamEnd();
    this.#stream.flushResponse();
  }

  #onClose(): void {
    this.#release();
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.onUpstreamCut("connection termination");
  }

  /** The connection, or the attempt at one, counts no more. */
  #release(): void {
    const { load, stats, isHigh } = this.#cluster;
    load.connections--;
    if (this.#endpoint !== undefined) this.#endpoint.activeRequests--;
    stats.upstream_cx_active.dec();
    if (isHigh) stats["high.cx_active"].dec();
    stats.upstream_cx_destroy.inc();
  }
}
