import type { Socket } from "node:net";

import { type Decoded, HpackDecoder } from "../hpack/decoder.ts";
import { holdClock, now, releaseClock } from "../listen/clock.ts";
import { Linger } from "../listen/linger.ts";
import { Timer, type TimerOwner, timers } from "../listen/timers.ts";
import { type Abort, refusals } from "./abort.ts";
import { FieldBlock } from "./field-block.ts";
import { type FrameSink, FrameReader } from "./frame-reader.ts";
import { ACK, codes, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, SETTINGS, STREAM_ID_MAX } from "./frames.ts";
import type { SessionHandler } from "./handlers.ts";
import { MessageCheck } from "./messages.ts";
import { SessionControl } from "./session-control.ts";
import type { SessionOptions } from "./session-streams.ts";
import { Http2Stream, WRONG_LENGTH } from "./stream.ts";

// Kinds of timers.
const ON_LINGER = 0;
const ON_SETTINGS = 1;

// What has become of a connection.
const OPEN = 0;
/** Our half is closed, and what still comes is dropped. */
const ENDING = 1;
const CLOSED = 2;

/** One serves all: what it finds is used up at once. */
const check = new MessageCheck();

/**
 * An HTTP/2 connection, of either role: RFC 9113 between a socket, which its owner reads for it, and the streams. What the peer does wrong is a value, an
 * error code, which ends the stream or the connection; the floods that the protocol has room for are bounded (frame-budget.ts).
 */
export class Http2Session extends SessionControl implements FrameSink, TimerOwner {
  /** Since when a head, or another frame, has been on its way, by the clock of listen/clock.ts; -1: none is. */
  unfinishedSince = -1;

  readonly #socket: Socket;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #block: FieldBlock;
  readonly #lingerTimer = new Timer(this, ON_LINGER);
  readonly #settingsTimer = new Timer(this, ON_SETTINGS);
  #state = OPEN;
  #linger: Linger | undefined = undefined;
  /** Whether the connection ends with its last stream. Those that the peer opens beyond `acceptedUpTo` are not for us any more (GOAWAY). */
  #closing = false;
  #acceptedUpTo: number = STREAM_ID_MAX;
  /**
   * Of the DATA frame that is being read: its stream, if that is there, whether it ends that, whether some of the body is in it, and its bytes that are not part of the body, once all of
   * it was read.
   */
  #dataStream: Http2Stream | undefined = undefined;
  #dataEnds = false;
  #dataComes = false;
  #padding = 0;
  /** Frames and blocks that were whole, to tell one unfinished thing from the next. */
  #whole = 0;
  #wholeBefore = -1;

  constructor(socket: Socket, options: SessionOptions, handler: SessionHandler) {
    super(socket, options, handler);
    const { isClient, settings } = options;
    this.#socket = socket;
    const limits = { listBytes: settings.headerListBytes, fields: settings.headerFields };
    this.#decoder = new HpackDecoder(settings.headerTableBytes, limits);
    // What is neither indexed nor compressed takes about as much as it is; the rest is for what is beyond the limits, and costs its stream only. An endpoint's
    // connection carries requests of many, so that there it may be more.
    this.#block = new FieldBlock((isClient ? 8 : 2) * settings.headerListBytes);
    this.#reader = new FrameReader(this, !isClient);
    socket
      // What matters of an error is that "close" follows.
      .on("error", () => {})
      .on("end", () => this.#onSocketEnd())
      .on("close", () => this.#onSocketClosed());
    this.writeOpening(settings, isClient);
    if (options.settingsTimeoutMs > 0) timers.schedule(this.#settingsTimer, options.settingsTimeoutMs);
  }

  get isOpen(): boolean {
    return this.#state === OPEN;
  }

  get reading(): boolean {
    return this.#state === OPEN;
  }

  /** Takes what was read of the socket: bytes[from, to), valid during the call only. */
  receive(bytes: Buffer, from: number, to: number): void {
    if (this.#state !== OPEN) return;
    const before = holdClock();
    try {
      const error = this.#reader.read(bytes, from, to);
      if (error !== codes.NO_ERROR) this.fail(error);
      this.endTouched();
      this.#endOfRead();
    } finally {
      releaseClock(before);
    }
  }

  /** Announces that no further streams will be accepted, while they still are (RFC 9113, 6.8). */
  announceEnd(): void {
    if (this.#state === OPEN && !this.#closing) this.writeGoaway(STREAM_ID_MAX, codes.NO_ERROR);
  }

  /** Accepts no further streams, and ends with the last one that there is. */
  close(): void {
    if (this.#state !== OPEN || this.#closing) return;
    this.#closing = true;
    this.#acceptedUpTo = this.lastPeerId;
    this.writeGoaway(this.lastPeerId, codes.NO_ERROR);
    if (this.streams === 0) this.#finish();
  }

  /** Ends the connection for what the peer did: GOAWAY, and the end of all streams. */
  fail(code: number): void {
    if (this.#state !== OPEN) return;
    this.writeGoaway(this.lastPeerId, code);
    this.#end();
    this.handler.onFailed(code);
    this.closeStreams("connection broken by peer", code);
  }

  /** Closes the socket at once. */
  destroy(): void {
    this.#socket.destroy();
  }

  onTimer(kind: number): void {
    // RFC 9113, 6.5.3: who doesn't acknowledge "within a reasonable amount of time".
    if (kind === ON_SETTINGS) return this.fail(codes.SETTINGS_TIMEOUT);
    if (this.#linger === undefined) this.#end();
    else if (this.#linger.check()) timers.schedule(this.#lingerTimer, this.#linger.checkMs);
  }

  /**
   * The last stream is over, and everything was said. A client closes the connection by itself then, and has delayed_close_timeout to do so, as with
   * Envoy: an end that comes right behind the last response may overtake it inside a client (grpc-js then fails a call that was answered).
   */
  #finish(): void {
    const { delayedCloseTimeoutMs } = this.options;
    if (this.isClient || delayedCloseTimeoutMs === 0) return this.#end();
    timers.schedule(this.#lingerTimer, delayedCloseTimeoutMs);
  }

  /** What has gathered leaves, our half closes, and the peer gets time to read it. */
  #end(): void {
    this.#state = ENDING;
    timers.cancel(this.#settingsTimer);
    // An endpoint has nothing of ours to read any more.
    this.#linger = new Linger(this.#socket, this.output, this.options.delayedCloseTimeoutMs, this.isClient);
    timers.schedule(this.#lingerTimer, this.#linger.checkMs);
  }

  protected onNoStreams(): void {
    if (this.#closing && this.#state === OPEN) this.#finish();
  }

  protected onSettingsAck(): void {
    timers.cancel(this.#settingsTimer);
    this.#decoder.onSettingsAck();
  }

  /** HTTP/2 has no meaning for half a connection: nobody is there to take what is still to come. */
  #onSocketEnd(): void {
    if (this.#state === OPEN) this.#socket.destroy();
  }

  #onSocketClosed(): void {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    timers.cancel(this.#lingerTimer);
    timers.cancel(this.#settingsTimer);
    this.closeStreams("connection gone", codes.CANCEL);
    this.handler.onClosed();
  }

  #endOfRead(): void {
    if (this.#state !== OPEN) return;
    if (this.output.overflows) {
      this.stats.outbound_flood.inc();
      return this.fail(codes.ENHANCE_YOUR_CALM);
    }
    if (!this.#reader.unfinished && this.#block.pendingId === 0) this.unfinishedSince = -1;
    else if (this.unfinishedSince < 0 || this.#whole !== this.#wholeBefore) {
      this.unfinishedSince = now();
      this.#wholeBefore = this.#whole;
      this.handler.onUnfinished();
    }
  }

  onDataHead(flags: number, id: number, length: number): number {
    if (!this.peer.known || this.#block.pendingId !== 0 || id === 0) return codes.PROTOCOL_ERROR;
    this.receiveWindow -= length;
    if (this.receiveWindow < 0) return codes.FLOW_CONTROL_ERROR;
    this.#padding = length;
    this.#dataEnds = (flags & END_STREAM) !== 0;
    this.#dataComes = false;
    const stream = this.live.get(id);
    this.#dataStream = stream;
    if (stream === undefined) {
      if (this.mayFollow(id)) return codes.NO_ERROR;
      return this.isIdle(id) ? codes.PROTOCOL_ERROR : codes.STREAM_CLOSED;
    }
    const error = stream.takeDataHead(length);
    if (error !== codes.NO_ERROR) this.failStream(stream, error);
    return codes.NO_ERROR;
  }

  onDataPiece(bytes: Buffer, from: number, to: number): void {
    this.#padding -= to - from;
    this.#dataComes = true;
    const stream = this.#dataStream;
    if (stream === undefined || stream.closed) return this.giveBack(to - from);
    this.budget.dataReceived();
    if (stream.takeData(bytes, from, to)) return;
    this.giveBack(to - from);
    this.failLength(stream);
  }

  onDataEnd(): number {
    this.#whole++;
    const stream = this.#dataStream;
    this.#dataStream = undefined;
    // One of nothing but padding is as empty as one of nothing at all.
    const isEmpty = !this.#dataComes && !this.#dataEnds;
    const flood = isEmpty ? this.useless(this.stats.inbound_empty_frames_flood) : codes.NO_ERROR;
    if (stream === undefined || stream.closed) {
      this.giveBack(this.#padding);
      return flood;
    }
    if (this.#padding > 0) stream.takePadding(this.#padding);
    if (!this.#dataEnds) return flood;
    if (!stream.takeEnd()) this.failLength(stream);
    return codes.NO_ERROR;
  }

  onFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): number {
    const { pendingId } = this.#block;
    // RFC 9113, 4.3: a block is contiguous.
    if (pendingId !== 0 && (type !== CONTINUATION || id !== pendingId)) return codes.PROTOCOL_ERROR;
    // RFC 9113, 3.4: SETTINGS "MUST be the first frame".
    if (!this.peer.known && (type !== SETTINGS || (flags & ACK) !== 0)) return codes.PROTOCOL_ERROR;
    if (type === HEADERS) return this.#onHeaders(flags, id, bytes, from, to);
    if (type === CONTINUATION) return this.#onContinuation(flags, bytes, from, to);
    this.#whole++;
    return this.onControl(type, flags, id, bytes, from, to);
  }

  #onHeaders(flags: number, id: number, bytes: Buffer, from: number, to: number): number {
    if (id === 0) return codes.PROTOCOL_ERROR;
    const block = this.#block;
    const error = block.begin(flags, id, bytes, from, to);
    if (error !== codes.NO_ERROR) return error;
    if ((flags & END_HEADERS) === 0) return block.keep(bytes, block.from, block.to);
    return this.#onBlock(bytes, block.from, block.to);
  }

  #onContinuation(flags: number, bytes: Buffer, from: number, to: number): number {
    const block = this.#block;
    if (block.pendingId === 0) return codes.PROTOCOL_ERROR;
    const flood = from === to ? this.useless(this.stats.inbound_empty_frames_flood) : codes.NO_ERROR;
    if (flood !== codes.NO_ERROR) return flood;
    if ((flags & END_HEADERS) === 0) return block.keep(bytes, from, to);
    const whole = block.end(bytes, from, to);
    return whole === undefined ? codes.ENHANCE_YOUR_CALM : this.#onBlock(whole, 0, whole.length);
  }

  #onBlock(bytes: Buffer, from: number, to: number): number {
    this.#whole++;
    const { streamId: id, endStream: end } = this.#block;
    const fields: string[] = [];
    const verdict = this.#decoder.decode(bytes, from, to, fields);
    if (verdict === "compression") return codes.COMPRESSION_ERROR;
    if (verdict === "too large") this.stats.header_overflow.inc();
    const stream = this.live.get(id);
    if (stream === undefined) {
      if (!this.isClient && (id & 1) === 1 && id > this.lastPeerId) return this.#begin(id, fields, end, verdict);
      // What was under way is no more than trailers.
      if (this.mayFollow(id)) return this.useless();
      return !this.isIdle(id) && this.closed.wasOpen(id) ? codes.STREAM_CLOSED : codes.PROTOCOL_ERROR;
    }
    let error: number;
    if (stream.peerEnded) error = codes.STREAM_CLOSED;
    else if (verdict === "too large") {
      // Of an endpoint's connection, which carries requests of many, one response that is too large ends its own alone.
      stream.reset(codes.ENHANCE_YOUR_CALM);
      return codes.NO_ERROR;
    } else if (verdict === "malformed" || this.#block.isSelfDependent) error = codes.PROTOCOL_ERROR;
    else error = stream.takeFields(check, fields, end);
    if (error === WRONG_LENGTH) this.failLength(stream);
    else if (error !== codes.NO_ERROR) this.failStream(stream, error);
    return codes.NO_ERROR;
  }

  /** A client begins a stream. */
  #begin(id: number, fields: readonly string[], end: boolean, verdict: Decoded): number {
    this.lastPeerId = id;
    if (id > this.#acceptedUpTo) {
      // It didn't know yet, and will send it elsewhere (RFC 9113, 6.8).
      this.closed.add(id, true);
      return this.useless();
    }
    this.budget.streamBegun();
    const { maxConcurrentStreams = 0, connectProtocol } = this.options.settings;
    if (this.streams >= maxConcurrentStreams) return this.#refuse(id, codes.REFUSED_STREAM);
    if (verdict === "too large") return this.#refuse(id, codes.ENHANCE_YOUR_CALM, refusals.tooLarge);
    if (verdict === "malformed") return this.#refuse(id, codes.PROTOCOL_ERROR, refusals.field);
    const isFine = check.accepts(fields, "request", connectProtocol) && !this.#block.isSelfDependent;
    if (!isFine || (end && check.contentLength > 0)) {
      return this.#refuse(id, codes.PROTOCOL_ERROR, check.isFieldBroken ? refusals.field : refusals.message);
    }
    const stream = new Http2Stream(this, id, this.peer.streamWindowBytes, false);
    stream.takeRequest(check.contentLength, end);
    this.addLive(stream);
    this.touch(stream);
    this.handler.onRequest(stream, fields, end);
    return codes.NO_ERROR;
  }

  #refuse(id: number, code: number, abort?: Abort): number {
    this.closed.add(id, true);
    if (code === codes.PROTOCOL_ERROR) this.stats.rx_messaging_error.inc();
    else if (code === codes.REFUSED_STREAM) this.stats.stream_refused_errors.inc();
    this.writeReset(id, code);
    this.handler.onRefused(code, abort);
    return codes.NO_ERROR;
  }
}
