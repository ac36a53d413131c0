import { codes } from "./frames.ts";
import type { StreamEnd, StreamHandler } from "./handlers.ts";
import type { MessageCheck } from "./messages.ts";
import { type Sender, SendingStream } from "./sending-stream.ts";

/** In place of an error code: the content has another length than the message said. That is about this message alone, unlike what else is malformed. */
export const WRONG_LENGTH = -1;

/** What a stream asks of its connection. */
export interface StreamOwner extends Sender {
  /** Whether the peer is the server, and so sends responses. */
  readonly isClient: boolean;
  /** What the peer may send ahead on a stream, in bytes. */
  readonly streamWindowBytes: number;
  /** So many bytes of the connection's receive window are free again. */
  giveBack(bytes: number): void;
  writeWindowUpdate(id: number, bytes: number): void;
  writeReset(id: number, code: number): void;
  /** Something was handed to the stream's handler, which is to hear of the end of the read. */
  touch(stream: Http2Stream): void;
  /** `early`: the peer may yet send more. */
  onStreamClosed(stream: Http2Stream, early: boolean): void;
}

/** One stream of a connection: a request and its response. Methods named take… and peer… are the connection's to call. */
export class Http2Stream extends SendingStream {
  /** To be set as soon as the stream is there. */
  handler!: StreamHandler;
  /** Whether each half goes on when the other has ended, as in a tunnel. Otherwise a server's whole response also ends what it has of the request. */
  isTunnel = false;
  /** Whether onReadEnd() is to come. */
  isTouched = false;
  /** Whether the peer has ended its half. */
  peerEnded = false;

  readonly #owner: StreamOwner;
  #receiveWindow: number;
  /** Bytes that were taken, and that the peer was not told of yet. */
  #taken = 0;
  /** Bytes that were handed over while paused. */
  #held = 0;
  #paused = false;
  /** Of content-length; -1: it can be any. */
  #expectedBytes = -1;
  #receivedBytes = 0;
  /** Whether the head has come behind which there are data. */
  #headDone: boolean;
  /** Whether the response has no body whatever its content-length says. */
  readonly #isHead: boolean;

  /** `isHead`: of a request of ours with the method HEAD. */
  constructor(owner: StreamOwner, id: number, sendWindow: number, isHead: boolean) {
    super(owner, id, sendWindow);
    this.#owner = owner;
    this.#receiveWindow = owner.streamWindowBytes;
    this.#headDone = !owner.isClient;
    this.#isHead = isHead;
  }

  /**
   * What comes is still handed over, but the peer gets no more room for it. A client that we hold up so has no more room on its connection either; an endpoint has,
   * since its connection serves clients that have nothing to do with each other.
   */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    const held = this.#held;
    this.#held = 0;
    if (held > 0 && !this.#owner.isClient) this.#owner.giveBack(held);
    this.#giveBackOwn(held);
  }

  /** Ends the stream by RST_STREAM. What waited to be sent is dropped. */
  reset(code: number): void {
    if (this.closed) return;
    this.#owner.writeReset(this.id, code);
    this.close("reset by us", code);
  }

  /** The same, for what the peer did on it. */
  fail(code: number): void {
    if (this.closed) return;
    this.#owner.writeReset(this.id, code);
    this.close("broken by peer", code);
  }

  /** A request's head was accepted. */
  takeRequest(contentLength: number, end: boolean): void {
    this.#expectedBytes = contentLength;
    this.peerEnded = end;
  }

  /** A head or trailers on a stream that is there. Returns NO_ERROR, the stream's error, or WRONG_LENGTH. */
  takeFields(check: MessageCheck, fields: readonly string[], end: boolean): number {
    if (!this.#headDone) return this.#takeResponse(check, fields, end);
    // RFC 9113, 8.1: what follows a body ends the message.
    if (!end || !check.accepts(fields, "trailers", false)) return codes.PROTOCOL_ERROR;
    if (this.#isShort) return WRONG_LENGTH;
    this.#owner.stats.trailers.inc();
    this.#end(fields);
    return codes.NO_ERROR;
  }

  #takeResponse(check: MessageCheck, fields: readonly string[], end: boolean): number {
    if (!check.accepts(fields, "response", false)) return codes.PROTOCOL_ERROR;
    const { status, contentLength } = check;
    this.#owner.touch(this);
    if (status < 200) {
      // RFC 9113, 8.1.1 and 8.6.
      if (end || status === 101) return codes.PROTOCOL_ERROR;
      this.handler.onInformational(status, fields);
      return codes.NO_ERROR;
    }
    // RFC 9110, 8.6: 204 has no content, nor a length of it.
    if (status === 204 && contentLength > 0) return codes.PROTOCOL_ERROR;
    this.#headDone = true;
    // RFC 9113, 8.1.1: some may have "a content-length [...] even though no content is included in DATA frames"; content they must not have.
    if (this.#isHead || status === 304 || status === 204) this.#expectedBytes = 0;
    else if (!this.isTunnel || status >= 300) this.#expectedBytes = contentLength;
    if (end && this.#isShort) return WRONG_LENGTH;
    this.peerEnded = end;
    this.handler.onHead(status, fields, end);
    if (end) this.#closeIfDone();
    return codes.NO_ERROR;
  }

  /** A frame of DATA begins, of so many bytes. Returns NO_ERROR, or the stream's error. */
  takeDataHead(length: number): number {
    if (this.peerEnded) return codes.STREAM_CLOSED;
    if (!this.#headDone) return codes.PROTOCOL_ERROR;
    this.#receiveWindow -= length;
    return this.#receiveWindow < 0 ? codes.FLOW_CONTROL_ERROR : codes.NO_ERROR;
  }

  /** A piece of the body. False: it is longer than it was to be. */
  takeData(bytes: Buffer, from: number, to: number): boolean {
    const length = to - from;
    this.#receivedBytes += length;
    if (this.#expectedBytes >= 0 && this.#receivedBytes > this.#expectedBytes) return false;
    this.#owner.touch(this);
    this.handler.onData(bytes, from, to);
    this.#release(length);
    return true;
  }

  /** The padding of a frame, which nobody waits for. */
  takePadding(length: number): void {
    this.#owner.giveBack(length);
    this.#giveBackOwn(length);
  }

  /** END_STREAM came with DATA. False: the body is shorter than it was to be. */
  takeEnd(): boolean {
    if (this.#isShort) return false;
    this.#end(undefined);
    return true;
  }

  /** RST_STREAM came. */
  peerReset(code: number): void {
    this.close("reset by peer", code);
  }

  /** The stream is over. */
  close(end: StreamEnd, code: number): void {
    if (this.closed) return;
    this.closed = true;
    this.dropQueue();
    if (!this.#owner.isClient) this.#owner.giveBack(this.#held);
    // Once: who is slow may call resume() yet.
    this.#held = 0;
    this.#owner.onStreamClosed(this, !this.peerEnded && end !== "reset by peer" && end !== "given back");
    this.handler.onClosed(end, code);
  }

  protected onSendEnded(): void {
    if (this.peerEnded) return this.close("complete", codes.NO_ERROR);
    if (this.#owner.isClient || this.isTunnel) return;
    // RFC 9113, 8.1: asks the client to stop sending what nobody will look at, "without error".
    this.#owner.writeReset(this.id, codes.NO_ERROR);
    this.close("complete", codes.NO_ERROR);
  }

  get #isShort(): boolean {
    return this.#expectedBytes > this.#receivedBytes;
  }

  #end(trailers: readonly string[] | undefined): void {
    this.peerEnded = true;
    this.#owner.touch(this);
    this.handler.onEnd(trailers);
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.peerEnded && this.sendEnded) this.close("complete", codes.NO_ERROR);
  }

  #release(length: number): void {
    const isHeld = this.#paused && !this.closed;
    if (!isHeld || this.#owner.isClient) this.#owner.giveBack(length);
    if (isHeld) this.#held += length;
    else this.#giveBackOwn(length);
  }

  #giveBackOwn(length: number): void {
    const { streamWindowBytes } = this.#owner;
    this.#taken += length;
    // At half a window, so that neither small updates nor a peer that waits cost much.
    if (this.#taken < streamWindowBytes / 2 || this.peerEnded || this.closed) return;
    this.#owner.writeWindowUpdate(this.id, this.#taken);
    this.#receiveWindow += this.#taken;
    this.#taken = 0;
  }
}
