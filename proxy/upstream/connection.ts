import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";

import { tlsOf } from "../cluster/cluster.ts";
import { type BodySink, BodyReader } from "../http1/body.ts";
import type { FieldLimits } from "../http1/fields.ts";
import { HeadReader } from "../http1/head-reader.ts";
import { type Framing, Outbox } from "../http1/outbox.ts";
import { parseResponseHead, ResponseMessage } from "../http1/response-head.ts";
import { Violation, violations } from "../http1/violation.ts";
import { holdClock, now, releaseClock } from "../listen/clock.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import type { Dial } from "./dial.ts";
import { LastBytes } from "./last-bytes.ts";
import type { EndpointPool } from "./pool.ts";
import { startResponseBody } from "./response-body.ts";
import type { ResponseReceiver } from "./response-receiver.ts";
import type { ClientTls } from "./tls.ts";

/** Envoy's defaults for responses. */
const RESPONSE_HEAD_BYTES_MAX = 60 * 1024;
const RESPONSE_LIMITS: FieldLimits = { maxHeadersCount: 100, headersWithUnderscores: "allow" };
/** More 1xx responses than this before the one is a flood. */
const INFORMATIONAL_MAX = 16;

/** One HTTP/1.1 connection to an endpoint: one request at a time, kept for the next one if both sides agree. */
export class ClientConnection implements BodySink, TimerOwner {
  readonly isHttp2 = false;
  /** Local "address:port". */
  readonly localAddress: string;
  /** Requests sent so far. */
  requests = 0;
  /** Whether anything of the current response has arrived. */
  responseBegun = false;
  /** The settings that it was opened under; when they change it serves no further request. */
  readonly tls: unknown;
  readonly #secrets: ClientTls | undefined;
  idleSince = 0;

  readonly #pool: EndpointPool;
  readonly #socket: Socket;
  readonly #out: Outbox;
  readonly #head = new HeadReader(false);
  readonly #body = new BodyReader();
  readonly #timer = new Timer(this, 0);
  readonly #startedAt: number;
  readonly #openedAt: number = performance.now();
  #closed = false;
  #receiver: ResponseReceiver | undefined = undefined;
  #method = "";
  #requestDone = true;
  #inBody = false;
  #raw = false;
  #reusable = false;
  #informational = 0;
  /** Where the body begins behind the head that was read last. */
  #bodyAt = 0;
  #upgrade = "";
  /** Whether the socket has ended, failed or been destroyed; what its own getters say, at the cost of a field. */
  #gone = false;
  #paused = false;

  constructor(pool: EndpointPool, socket: Socket, { options, startedAt }: Dial) {
    this.#pool = pool;
    this.#secrets = options.tls;
    this.tls = options.tls?.settings;
    this.#startedAt = startedAt;
    this.#socket = socket
      .on("error", () => {
        this.#gone = true;
        this.#onBroken();
      })
      .on("end", () => this.#onEnd())
      .on("close", () => this.#onClose())
      .on("drain", () => this.#receiver?.onUpstreamWritable());
    if (options.reader !== undefined) options.reader.onRead = (bytes, length) => this.#onRead(bytes, length);
    this.#out = new Outbox(socket);
    this.localAddress = `${socket.localAddress}:${socket.localPort}`;
    const { stats } = pool.cluster;
    stats.upstream_cx_connect_ms.record(performance.now() - startedAt);
    stats.upstream_cx_http1_total.inc();
  }

  /** Whether it can take a request now. */
  get usable(): boolean {
    return (
      !this.#gone &&
      this.#pool.endpoint.alive &&
      this.tls === tlsOf(this.#pool.cluster.cluster.settings, this.#pool.endpoint) &&
      (this.#secrets === undefined || this.#secrets.current) &&
      !this.tooOld
    );
  }

  /** Whether a request that it serves is not its first. */
  get reused(): boolean {
    return this.requests > 1;
  }

  /** Whether it has been open for longer than a connection may be (max_connection_duration). */
  get tooOld(): boolean {
    const { maxConnectionDurationMs } = this.#pool.cluster.cluster.settings;
    return maxConnectionDurationMs > 0 && performance.now() - this.#openedAt >= maxConnectionDurationMs;
  }

  /** Sends the head of a request (request line and fields, without the empty line); its response goes to `receiver`. */
  send(receiver: ResponseReceiver, method: string, head: string, framing: Framing, upgrade: string): void {
    this.#receiver = receiver;
    this.#method = method;
    this.#requestDone = false;
    this.#inBody = false;
    this.#informational = 0;
    this.#upgrade = upgrade.toLowerCase();
    this.responseBegun = false;
    this.requests++;
    this.#out.framing = framing;
    this.#out.head(framing === "chunked" ? `${head}transfer-encoding: chunked\r\n\r\n` : `${head}\r\n`);
  }

  /** A piece of the request's body, which stays as it is. False: wait for onUpstreamWritable(). */
  sendData(bytes: Buffer): boolean {
    return this.#out.data(bytes, 0, bytes.length, true);
  }

  /** The request is complete. */
  sendEnd(): void {
    this.#requestDone = true;
    if (this.#raw) {
      this.#out.endSocket();
      return;
    }
    this.#out.end();
  }

  flush(): void {
    if (!this.#closed) this.#out.flush();
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#socket.resume();
  }

  /** The receiver wants no more: what is under way is given up, and the connection with it. */
  abandon(): void {
    this.#receiver = undefined;
    this.destroy();
  }

  /** Both halves of its tunnel have ended: what was sent goes out yet, and the connection closes. */
  finish(): void {
    this.#receiver = undefined;
    new LastBytes(this);
  }

  /** Bytes that were sent and the endpoint has not taken yet. */
  get unsentBytes(): number {
    return this.#out.unsentBytes;
  }

  destroy(): void {
    this.#gone = true;
    this.#socket.destroy();
  }

  #onRead(bytes: Buffer, length: number): void {
    this.#pool.cluster.stats.upstream_cx_rx_bytes_total.inc(length);
    const receiver = this.#receiver;
    // Bytes that answer nothing would be taken for the answer to the next request.
    if (receiver === undefined) return this.destroy();
    this.responseBegun = true;
    const before = holdClock();
    try {
      this.#consume(receiver, bytes, length);
      receiver.flush();
    } finally {
      releaseClock(before);
    }
  }

  #consume(receiver: ResponseReceiver, bytes: Buffer, length: number): void {
    let at = 0;
    while (at < length && this.#receiver === receiver) {
      if (this.#raw) return receiver.onResponseData(bytes, at, length);
      if (!this.#inBody) {
        const message = this.#readHead(bytes, at, length);
        if (message === undefined) return;
        if (message instanceof Violation) return this.#fail(message);
        at = this.#bodyAt;
        if (message.status < 200) {
          if (!this.#onInformational(receiver, message)) return;
          continue;
        }
        this.#begin(receiver, message, at === length);
        continue;
      }
      at = this.#body.read(bytes, at, length, this);
      if (this.#body.violation !== undefined) return this.#fail(this.#body.violation);
      if (this.#body.done && this.#receiver === receiver) {
        if (at < length) this.#reusable = false;
        this.#complete(receiver);
      }
    }
  }

  /** The response whose head is at `at`, and in #bodyAt where its body begins; undefined: it isn't whole yet. */
  #readHead(bytes: Buffer, at: number, to: number): ResponseMessage | Violation | undefined {
    const head = this.#head;
    // Nearly all heads come whole, and reading one tells where it ends.
    if (head.mayBeginAt(bytes, at)) {
      const whole = parseResponseHead({ bytes, from: at, to }, RESPONSE_LIMITS);
      if (whole instanceof ResponseMessage && whole.bodyAt - at <= RESPONSE_HEAD_BYTES_MAX) {
        this.#bodyAt = whole.bodyAt;
        return whole;
      }
    }
    if (!head.read(bytes, at, to, RESPONSE_HEAD_BYTES_MAX)) return head.violation;
    this.#bodyAt = head.next;
    return parseResponseHead(head, RESPONSE_LIMITS);
  }

  onBody(bytes: Buffer, from: number, to: number): void {
    this.#receiver?.onResponseData(bytes, from, to);
  }

  /** False: the connection is not to be read on. */
  #onInformational(receiver: ResponseReceiver, message: ResponseMessage): boolean {
    if (message.status === 101) {
      const matches =
        this.#upgrade !== "" && message.connectionUpgrade && message.upgrade.toLowerCase() === this.#upgrade;
      // Switching without being asked, or to something else, leaves both sides with different ideas of what follows.
      if (!matches) {
        this.#fail(violations.status);
        return false;
      }
      this.#raw = true;
      this.#out.framing = "raw";
      receiver.onResponseHead(message, false);
      return true;
    }
    if (++this.#informational > INFORMATIONAL_MAX) {
      this.#fail(violations.informational);
      return false;
    }
    // RFC 9110, 8.6: such a response has none, and whoever believed it would take the next one for its body.
    message.headers.remove("content-length");
    receiver.onInformational(message);
    return true;
  }

  #begin(receiver: ResponseReceiver, message: ResponseMessage, last: boolean): void {
    const body = this.#body;
    this.#reusable = startResponseBody(body, message, this.#method, last);
    this.#inBody = !body.done;
    // Such a response says how long a body would be, and has none.
    if (message.status === 204) message.headers.remove("content-length");
    if (body.done) this.#complete(receiver, message);
    else receiver.onResponseHead(message, false);
  }

  /** The response is there; `message` if it has no body. The connection goes back first, since the receiver may send its next request at once. */
  #complete(receiver: ResponseReceiver, message?: ResponseMessage): void {
    this.#inBody = false;
    this.#receiver = undefined;
    // A receiver that was slow may have paused it.
    if (this.#paused) this.resume();
    if (this.#reusable && this.#requestDone && this.usable) this.#pool.release(this);
    else this.destroy();
    if (message === undefined) receiver.onResponseEnd();
    else receiver.onResponseHead(message, true);
  }

  /** Starts the wait for the next request. */
  onIdle(): void {
    this.idleSince = now();
    const { idleTimeoutMs } = this.#pool.cluster.cluster.settings;
    if (idleTimeoutMs > 0 && this.#timer.tick < 0) timers.schedule(this.#timer, idleTimeoutMs);
  }

  onTimer(): void {
    // Using the connection doesn't touch its timer: whether it has idled long enough is found out here.
    if (this.#receiver !== undefined) return;
    const { idleTimeoutMs } = this.#pool.cluster.cluster.settings;
    const left = this.idleSince + idleTimeoutMs - performance.now();
    if (left > 0) return timers.schedule(this.#timer, left);
    this.#pool.cluster.stats.upstream_cx_idle_timeout.inc();
    this.destroy();
  }

  #fail(violation: Violation): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    this.#pool.cluster.stats.upstream_cx_protocol_error.inc();
    receiver?.onUpstreamReset("protocol error", violation.details);
    this.destroy();
  }

  /** The endpoint has sent its last byte. */
  #onEnd(): void {
    this.#gone = true;
    const receiver = this.#receiver;
    if (receiver !== undefined && this.#raw) {
      receiver.onResponseEnd();
      receiver.flush();
      return;
    }
    if (receiver !== undefined && this.#inBody) {
      this.#reusable = false;
      if (!this.#body.close()) return this.#fail(violations.truncated);
      this.#complete(receiver);
      receiver.flush();
    } else this.#onBroken();
    this.destroy();
  }

  /**
   * The connection is gone. As to Envoy, a head or a body of which a part is missing breaks the protocol; where nothing at all has come the request
   * may not have been seen, and a body that ends with its connection may be whole.
   */
  #onBroken(): void {
    const receiver = this.#receiver;
    if (receiver === undefined || this.#raw || !(this.#inBody ? this.#body.isFramed : this.#head.started)) return;
    this.#fail(violations.truncated);
    receiver.flush();
  }

  #onClose(): void {
    timers.cancel(this.#timer);
    this.#closed = true;
    this.#gone = true;
    const { stats } = this.#pool.cluster;
    stats.upstream_cx_tx_bytes_total.inc(this.#socket.bytesWritten);
    stats.upstream_cx_length_ms.record(performance.now() - this.#startedAt);
    this.#pool.onClosed(this);
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.onUpstreamReset("connection termination", "");
  }
}
