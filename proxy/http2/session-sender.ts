import type { Socket } from "node:net";

import { HpackEncoder } from "../hpack/encoder.ts";
import type { Http2Stats } from "../listen/context.ts";
import {
  ACK,
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  FRAME_BYTES_MAX,
  FRAME_HEAD_BYTES,
  GOAWAY,
  HEADERS,
  PING,
  RST_STREAM,
  SETTINGS,
  WINDOW_BYTES_DEFAULT,
  WINDOW_UPDATE,
  writeFrameHead,
  writeUint32,
} from "./frames.ts";
import { Output } from "./output.ts";
import { PREFACE } from "./preface.ts";
import { FLAGS_AT, type Sender, type SendingStream } from "./sending-stream.ts";
import { type OwnSettings, settingsPayload } from "./settings.ts";

/** What HPACK's table for what we send has at most, in bytes, whatever the peer would keep. */
const ENCODER_TABLE_BYTES = 4_096;
const PING_BYTES = 8;

/** Writes a connection's frames, and lets its streams take turns. */
export class SessionSender implements Sender {
  readonly output: Output;
  readonly stats: Http2Stats;
  sendWindow: number = WINDOW_BYTES_DEFAULT;

  readonly #encoder = new HpackEncoder(ENCODER_TABLE_BYTES);
  readonly #onDataSent: () => void;
  /** Streams whose turn is to come, in this order. */
  readonly #waiting: SendingStream[] = [];
  #isPumping = false;
  /** A stream's handler is to hear that there is room. */
  readonly #onRoom: (stream: SendingStream) => void;

  constructor(socket: Socket, stats: Http2Stats, onDataSent: () => void, onRoom: (stream: SendingStream) => void) {
    this.output = new Output(socket, () => this.pump());
    this.stats = stats;
    this.#onDataSent = onDataSent;
    this.#onRoom = onRoom;
  }

  get isCongested(): boolean {
    return this.#waiting.length > 0;
  }

  /** What a connection begins with. */
  writeOpening(own: OwnSettings, isClient: boolean): void {
    const { output } = this;
    const payload = settingsPayload(own);
    if (isClient) {
      output.reserve(PREFACE.length);
      output.at += PREFACE.copy(output.chunk, output.at);
    }
    const at = this.#begin(SETTINGS, 0, 0, payload.length);
    payload.copy(output.chunk, at);
    const more = own.connectionWindowBytes - WINDOW_BYTES_DEFAULT;
    if (more > 0) this.writeWindowUpdate(0, more);
  }

  writeFields(id: number, fields: readonly string[], end: boolean): number {
    const { output } = this;
    const flags = end ? END_STREAM : 0;
    const bound = this.#encoder.boundOf(fields);
    if (bound > FRAME_BYTES_MAX) return this.#writeLargeFields(id, fields, flags, bound);
    output.reserve(FRAME_HEAD_BYTES + bound);
    const start = output.at;
    const to = this.#encoder.encode(fields, output.chunk, start + FRAME_HEAD_BYTES);
    writeFrameHead(output.chunk, start, HEADERS, flags | END_HEADERS, id, to - start - FRAME_HEAD_BYTES);
    output.at = to;
    return start + FLAGS_AT;
  }

  /** More than one frame holds: CONTINUATIONs follow. */
  #writeLargeFields(id: number, fields: readonly string[], flags: number, bound: number): number {
    const { output } = this;
    const block = Buffer.allocUnsafe(bound);
    const length = this.#encoder.encode(fields, block, 0);
    // In one piece, so that the flags of the first frame are where we say.
    const frames = Math.max(1, Math.ceil(length / FRAME_BYTES_MAX));
    output.reserve(length + frames * FRAME_HEAD_BYTES);
    const flagsAt = output.at + FLAGS_AT;
    for (let i = 0; i < frames; i++) {
      const from = i * FRAME_BYTES_MAX;
      const to = Math.min(length, from + FRAME_BYTES_MAX);
      const frameFlags = (i === 0 ? flags : 0) | (i === frames - 1 ? END_HEADERS : 0);
      const at = writeFrameHead(output.chunk, output.at, i === 0 ? HEADERS : CONTINUATION, frameFlags, id, to - from);
      output.at = at + block.copy(output.chunk, at, from, to);
    }
    return flagsAt;
  }

  onDataSent(): void {
    this.#onDataSent();
  }

  writeReset(id: number, code: number): void {
    this.stats.tx_reset.inc();
    const at = this.#begin(RST_STREAM, 0, id, 4);
    writeUint32(this.output.chunk, at, code);
  }

  writeWindowUpdate(id: number, bytes: number): void {
    const at = this.#begin(WINDOW_UPDATE, 0, id, 4);
    writeUint32(this.output.chunk, at, bytes);
  }

  writeSettingsAck(): void {
    this.#begin(SETTINGS, ACK, 0, 0);
  }

  /** A PING of ours; its first byte says what for. */
  writePing(kind: number): void {
    const at = this.#begin(PING, 0, 0, PING_BYTES);
    this.output.chunk.fill(0, at, at + PING_BYTES);
    this.output.chunk[at] = kind;
  }

  /** The answer to a PING, which repeats what was in it. */
  writePong(bytes: Buffer, from: number): void {
    const at = this.#begin(PING, ACK, 0, PING_BYTES);
    bytes.copy(this.output.chunk, at, from, from + PING_BYTES);
  }

  writeGoaway(lastStreamId: number, code: number): void {
    this.stats.goaway_sent.inc();
    const at = this.#begin(GOAWAY, 0, 0, 8);
    writeUint32(this.output.chunk, at, lastStreamId);
    writeUint32(this.output.chunk, at + 4, code);
  }

  /** The peer keeps HPACK tables of this size. */
  setPeerTableBytes(bytes: number): void {
    this.#encoder.setPeerTableBytes(bytes);
  }

  queue(stream: SendingStream): void {
    if (stream.isQueued || stream.sendWindow <= 0) return;
    stream.isQueued = true;
    this.#waiting.push(stream);
  }

  unqueue(stream: SendingStream): void {
    if (!stream.isQueued) return;
    stream.isQueued = false;
    this.#waiting.splice(this.#waiting.indexOf(stream), 1);
  }

  /** Lets streams that wait send, one frame each in turn, as far as the windows and the output allow. */
  pump(): void {
    if (this.#waiting.length === 0 || this.#isPumping) return;
    this.#isPumping = true;
    const { output } = this;
    const withRoom: SendingStream[] = [];
    while (this.sendWindow > 0 && output.hasRoom) {
      const stream = this.#waiting.shift();
      if (stream === undefined) break;
      stream.isQueued = false;
      stream.writeNext();
      if (stream.canSend) this.queue(stream);
      else if (stream.hasRoom) withRoom.push(stream);
    }
    this.#isPumping = false;
    for (const stream of withRoom) if (!stream.closed) this.#onRoom(stream);
  }

  /** Begins a frame in the output; returns where its payload is to be. */
  #begin(type: number, flags: number, id: number, length: number): number {
    const { output } = this;
    output.reserve(FRAME_HEAD_BYTES + length);
    const at = writeFrameHead(output.chunk, output.at, type, flags, id, length);
    output.at = at + length;
    return at;
  }
}
