import type { Socket } from "node:net";

import type { Counter, Http2Stats } from "../listen/context.ts";
import { ClosedStreams } from "./closed-streams.ts";
import { FrameBudget } from "./frame-budget.ts";
import { codes, STREAM_ID_MAX, WINDOW_BYTES_DEFAULT } from "./frames.ts";
import type { SessionHandler, StreamEnd, StreamHandler } from "./handlers.ts";
import { SessionSender } from "./session-sender.ts";
import { type OwnSettings, PeerSettings } from "./settings.ts";
import { Http2Stream, type StreamOwner } from "./stream.ts";

/** How a connection begins. */
export interface SessionOptions {
  readonly isClient: boolean;
  readonly settings: OwnSettings;
  /** How long a peer may take to read the last that we sent before its socket is closed, in ms. */
  readonly delayedCloseTimeoutMs: number;
  /** How long a peer may take to acknowledge our SETTINGS, in ms; 0: as long as it likes. */
  readonly settingsTimeoutMs: number;
  readonly stats: Http2Stats;
}

/** A connection's streams: which there are and were, and what the peer may send on all of them together. */
export abstract class SessionStreams extends SessionSender implements StreamOwner {
  readonly isClient: boolean;
  readonly streamWindowBytes: number;
  /** What the peer has told us. */
  readonly peer: PeerSettings = new PeerSettings();

  protected readonly handler: SessionHandler;
  protected readonly options: SessionOptions;
  protected readonly budget: FrameBudget;
  protected readonly live: Map<number, Http2Stream> = new Map();
  protected readonly closed: ClosedStreams = new ClosedStreams();
  /** The last stream that the peer opened. */
  protected lastPeerId = 0;
  /** What the peer may send now, in bytes. */
  protected receiveWindow: number;
  /** The stream that we open next. */
  #nextId = 1;
  /** Bytes that were taken, and that the peer was not told of yet. */
  #taken = 0;
  #touched: Http2Stream[] = [];

  constructor(socket: Socket, options: SessionOptions, handler: SessionHandler) {
    const budget = new FrameBudget();
    super(
      socket,
      options.stats,
      () => budget.dataSent(),
      (stream) => (stream as Http2Stream).handler.onWritable(),
    );
    const { isClient, settings } = options;
    this.handler = handler;
    this.options = options;
    this.budget = budget;
    this.isClient = isClient;
    // RFC 9113, 6.9.2: until the peer has our SETTINGS, it goes by the default.
    this.streamWindowBytes = Math.max(settings.streamWindowBytes, WINDOW_BYTES_DEFAULT);
    this.receiveWindow = Math.max(settings.connectionWindowBytes, WINDOW_BYTES_DEFAULT);
  }

  /** Whether the connection is in use, neither ending nor closed. */
  abstract get isOpen(): boolean;

  /** Streams that are open. */
  get streams(): number {
    return this.live.size;
  }

  /** Whether we can open a further stream, as far as identifiers go (RFC 9113, 5.1.1). */
  get canOpen(): boolean {
    return this.isOpen && this.#nextId <= STREAM_ID_MAX;
  }

  /**
   * Begins a request of ours, to be called while canOpen: names and values in turn. `end`: it has no body. `isHead`: its method is HEAD. `isTunnel`: of CONNECT, whose halves end
   * each by itself.
   */
  open(
    fields: readonly string[],
    end: boolean,
    handler: StreamHandler,
    isHead: boolean,
    isTunnel = false,
  ): Http2Stream {
    const stream = new Http2Stream(this, this.#nextId, this.peer.streamWindowBytes, isHead);
    this.#nextId += 2;
    stream.handler = handler;
    stream.isTunnel = isTunnel;
    this.addLive(stream);
    this.budget.streamBegun();
    stream.sendHeaders(fields, end);
    return stream;
  }

  protected addLive(stream: Http2Stream): void {
    this.live.set(stream.id, stream);
    this.stats.streams_active.inc();
  }

  touch(stream: Http2Stream): void {
    if (stream.isTouched) return;
    stream.isTouched = true;
    this.#touched.push(stream);
  }

  giveBack(bytes: number): void {
    this.#taken += bytes;
    if (this.#taken === 0 || this.#taken < this.options.settings.connectionWindowBytes / 2 || !this.isOpen) return;
    this.writeWindowUpdate(0, this.#taken);
    this.receiveWindow += this.#taken;
    this.#taken = 0;
  }

  onStreamClosed(stream: Http2Stream, early: boolean): void {
    this.live.delete(stream.id);
    this.stats.streams_active.dec();
    this.closed.add(stream.id, early);
    if (this.live.size === 0) this.onNoStreams();
  }

  /** The last stream is over. */
  protected abstract onNoStreams(): void;

  /** The calls of one read are over. */
  protected endTouched(): void {
    const touched = this.#touched;
    if (touched.length === 0) return;
    this.#touched = [];
    for (const stream of touched) {
      stream.isTouched = false;
      stream.handler.onReadEnd();
    }
  }

  protected closeStreams(end: StreamEnd, code: number): void {
    for (const stream of [...this.live.values()]) stream.close(end, code);
  }

  /**
   * Counts a frame that costs work and brings nothing. Returns NO_ERROR, or what ends the connection when it was one too many. `flood`: what counts that, if Envoy has a
   * name for it.
   */
  protected useless(flood?: Counter): number {
    if (this.budget.allows()) return codes.NO_ERROR;
    flood?.inc();
    return codes.ENHANCE_YOUR_CALM;
  }

  /** Resets a stream for what the peer did on it. */
  protected failStream(stream: Http2Stream, code: number): void {
    if (code === codes.PROTOCOL_ERROR) this.stats.rx_messaging_error.inc();
    this.handler.onStreamError(code);
    stream.fail(code);
  }

  /** Resets a stream whose content has another length than the peer said: that is about this message alone, and as in Envoy its connection goes on. */
  protected failLength(stream: Http2Stream): void {
    this.stats.rx_messaging_error.inc();
    stream.fail(codes.PROTOCOL_ERROR);
  }

  /** Whether nobody has opened the stream yet. */
  protected isIdle(id: number): boolean {
    return (id & 1) === 0 || id > (this.isClient ? this.#nextId - 2 : this.lastPeerId);
  }

  /** Whether what came on a stream that isn't there may have been under way when it ended. */
  protected mayFollow(id: number): boolean {
    return !this.isIdle(id) && this.closed.mayFollow(id);
  }
}
