/** A peer of HTTP/2 that keeps the books of flow control (RFC 9113, 5.2 and 6.9) by itself, and sends and takes bodies as awkwardly as it is told. */
import type { Socket } from "node:net";

import * as h2 from "../support/http2-frames.ts";

const PADDED = 8;
const ACK = 1;
const INITIAL_WINDOW_SIZE = 4;
const WINDOW_DEFAULT = 65_535;
const CANCEL = 8;

/** How a peer behaves; numbers are drawn from, as if by chance, by whatever needs one. */
export interface Manner {
  /** Its INITIAL_WINDOW_SIZE, at first and later on, and in the end. */
  readonly windows: readonly number[];
  /** What it adds to its connection's window at the beginning. */
  readonly connectionExtra: number;
  /** Sizes of DATA frames, of padding, and of the pieces by which it gives windows back. */
  readonly frames: readonly number[];
  readonly padding: readonly number[];
  readonly updates: readonly number[];
}

/** One stream, as the peer sees it. */
interface Stream {
  readonly id: number;
  /** Picks the bytes of what is sent and of what is to come. */
  readonly key: number;
  sendWindow: number;
  receiveWindow: number;
  toSend: number;
  sent: number;
  received: number;
  sentEnd: boolean;
  receivedEnd: boolean;
  reset: boolean;
  /** Whether the last byte may be sent yet. */
  mayEnd: boolean;
  /** Bytes that were taken, and that the other side was not told of yet. */
  owed: number;
}

/** The byte at a place of a body. */
export const byteAt = (key: number, at: number): number => (key * 37 + at * 11 + (at >> 8)) & 0xff;

export abstract class WindowPeer {
  /** What the other side did that it must not. */
  readonly faults: string[] = [];
  readonly streams = new Map<number, Stream>();
  protected readonly socket: Socket;
  readonly #manner: Manner;
  #bytes: Buffer = Buffer.alloc(0);
  #draws = 0;
  #settings = 0;
  /** The other side's INITIAL_WINDOW_SIZE. */
  #theirInitial = WINDOW_DEFAULT;
  #ownInitial = WINDOW_DEFAULT;
  /** Ours that were not acknowledged yet, and so hold or not. */
  readonly #unacknowledged: number[] = [];
  #sendWindow = WINDOW_DEFAULT;
  /** What the other side makes of it at the beginning. */
  readonly #sendWindowMax: number;
  #receiveWindow = WINDOW_DEFAULT;
  #owed = 0;
  /** Whether windows are given back. */
  paused = false;

  /** `theirWindow`: the connection's window at the other side. */
  constructor(socket: Socket, manner: Manner, theirWindow: number) {
    this.socket = socket;
    this.#manner = manner;
    this.#sendWindowMax = theirWindow;
    socket.on("data", (bytes: Buffer) => this.#receive(bytes)).on("error", () => {});
  }

  /** Begins the connection, behind a preface if there is one. */
  protected begin(): void {
    this.changeWindows();
    const { connectionExtra } = this.#manner;
    if (connectionExtra === 0) return;
    this.#receiveWindow += connectionExtra;
    this.write(h2.WINDOW_UPDATE, 0, 0, uint32(connectionExtra));
  }

  /** Tells of another INITIAL_WINDOW_SIZE, the next of those that it is to have. */
  changeWindows(): void {
    const { windows } = this.#manner;
    const size = windows[Math.min(this.#settings++, windows.length - 1)] as number;
    const before = this.#unacknowledged.at(-1) ?? this.#ownInitial;
    this.#unacknowledged.push(size);
    // More holds at once as far as we care; less does once the other side has said that it knows.
    if (size > before) for (const stream of this.streams.values()) stream.receiveWindow += size - before;
    this.write(h2.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, INITIAL_WINDOW_SIZE]), uint32(size)]));
  }

  /** Goes on to the last of its sizes, if it isn't there. */
  openWindows(): void {
    while (this.#settings < this.#manner.windows.length) this.changeWindows();
  }

  protected write(type: number, flags: number, id: number, payload: Buffer | string = ""): void {
    if (!this.socket.destroyed) this.socket.write(h2.frame(type, flags, id, payload));
  }

  protected open(id: number, key: number, toSend: number): Stream {
    const granted = Math.max(this.#ownInitial, ...this.#unacknowledged);
    const stream: Stream = {
      ...{ id, key, toSend, sent: 0, received: 0, owed: 0 },
      ...{ sentEnd: false, receivedEnd: false, reset: false, mayEnd: true },
      ...{ sendWindow: this.#theirInitial, receiveWindow: granted },
    };
    this.streams.set(id, stream);
    return stream;
  }

  /** Gives the stream up amid whatever is under way. */
  reset(id: number): void {
    const stream = this.streams.get(id);
    if (stream === undefined || stream.reset || (stream.sentEnd && stream.receivedEnd)) return;
    stream.reset = true;
    this.write(h2.RST_STREAM, 0, id, uint32(CANCEL));
  }

  /** Whether every stream is over, as far as this side can tell. */
  get isDone(): boolean {
    return [...this.streams.values()].every(({ reset, sentEnd, receivedEnd }) => reset || (sentEnd && receivedEnd));
  }

  /** What the other side has not given back of the connection's window. */
  get unreturned(): number {
    return this.#sendWindowMax - this.#sendWindow;
  }

  /** A head has come. */
  protected abstract onHead(id: number, block: Buffer, end: boolean): void;

  #draw(from: readonly number[]): number {
    // Taken in turn, one of many would always meet the same of few.
    this.#draws = (Math.imul(this.#draws, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return from[(this.#draws >> 8) % from.length] as number;
  }

  #receive(bytes: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    let at = this.skip(this.#bytes);
    if (at < 0) return;
    while (this.#bytes.length - at >= 9) {
      const length = this.#bytes.readUIntBE(at, 3);
      if (this.#bytes.length - at < 9 + length) break;
      const payload = this.#bytes.subarray(at + 9, at + 9 + length);
      this.#onFrame(
        this.#bytes[at + 3] as number,
        this.#bytes[at + 4] as number,
        this.#bytes.readUInt32BE(at + 5),
        payload,
      );
      at += 9 + length;
    }
    this.#bytes = this.#bytes.subarray(at);
    this.move();
  }

  /** How much comes before the first frame; below 0: more of it is to come. */
  protected skip(_bytes: Buffer): number {
    return 0;
  }

  #onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    const stream = this.streams.get(id);
    switch (type) {
      case h2.HEADERS:
        return this.onHead(id, payload, (flags & h2.END_STREAM) !== 0);
      case h2.DATA:
        return this.#onData(id, stream, payload, (flags & h2.END_STREAM) !== 0);
      case h2.SETTINGS:
        return this.#onSettings(flags, payload);
      case h2.WINDOW_UPDATE:
        return this.#onUpdate(id, stream, payload.readUInt32BE(0));
      case h2.RST_STREAM:
        this.onReset(id, payload.readUInt32BE(0));
        if (stream !== undefined) stream.reset = true;
        return;
      case h2.GOAWAY:
        this.faults.push(`GOAWAY ${payload.readUInt32BE(4)}`);
    }
  }

  /** The other side has reset a stream. */
  protected onReset(id: number, code: number): void {
    const stream = this.streams.get(id);
    if (stream?.reset === false && !stream.receivedEnd) this.faults.push(`stream ${id} reset by ${code}`);
  }

  #onSettings(flags: number, payload: Buffer): void {
    if ((flags & ACK) !== 0) {
      const size = this.#unacknowledged.shift() as number;
      const before = this.#ownInitial;
      this.#ownInitial = size;
      if (size < before) for (const stream of this.streams.values()) stream.receiveWindow += size - before;
      return;
    }
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== INITIAL_WINDOW_SIZE) continue;
      const size = payload.readUInt32BE(at + 2);
      for (const stream of this.streams.values()) stream.sendWindow += size - this.#theirInitial;
      this.#theirInitial = size;
    }
    this.write(h2.SETTINGS, ACK, 0);
  }

  #onUpdate(id: number, stream: Stream | undefined, increment: number): void {
    if (increment === 0) this.faults.push(`WINDOW_UPDATE of 0 on ${id}`);
    if (id === 0) {
      this.#sendWindow += increment;
      if (this.unreturned < 0) this.faults.push("more was given back than the connection had taken");
    } else if (stream !== undefined) {
      stream.sendWindow += increment;
      if (stream.sendWindow > this.#theirInitial) this.faults.push(`more was given back than stream ${id} had taken`);
    }
  }

  #onData(id: number, stream: Stream | undefined, payload: Buffer, end: boolean): void {
    this.#receiveWindow -= payload.length;
    if (this.#receiveWindow < 0) this.faults.push("more than the connection's window allows");
    this.#owed += payload.length;
    if (stream === undefined || stream.reset) return;
    stream.receiveWindow -= payload.length;
    if (stream.receiveWindow < 0) this.faults.push(`more than the window of stream ${id} allows`);
    if (stream.receivedEnd) this.faults.push(`DATA behind the end of stream ${id}`);
    stream.owed += payload.length;
    for (const byte of payload) {
      if (byte !== byteAt(stream.key, stream.received++)) {
        this.faults.push(`byte ${stream.received - 1} of stream ${id} is another`);
        break;
      }
    }
    if (end) stream.receivedEnd = true;
  }

  /** Sends what the windows allow, and gives back something of what it took. */
  move(): void {
    this.socket.cork();
    for (const stream of this.streams.values()) this.#send(stream);
    if (!this.paused) this.#update();
    this.socket.uncork();
  }

  #update(): void {
    const { updates } = this.#manner;
    this.#owed -= this.#give(0, Math.min(this.#owed, this.#draw(updates)));
    for (const stream of this.streams.values()) {
      if (stream.reset || stream.receivedEnd) continue;
      const given = this.#give(stream.id, Math.min(stream.owed, this.#draw(updates)));
      stream.owed -= given;
      stream.receiveWindow += given;
    }
  }

  #give(id: number, bytes: number): number {
    if (bytes === 0) return 0;
    if (id === 0) this.#receiveWindow += bytes;
    this.write(h2.WINDOW_UPDATE, 0, id, uint32(bytes));
    return bytes;
  }

  #send(stream: Stream): void {
    while (!stream.sentEnd && !stream.reset) {
      const room = Math.min(stream.sendWindow, this.#sendWindow);
      const pad = this.#draw(this.#manner.padding);
      const extra = pad === 0 ? 0 : pad + 1;
      const left = stream.toSend - stream.sent - (stream.mayEnd ? 0 : 1);
      const length = Math.min(left, this.#draw(this.#manner.frames), room - extra);
      if (length < 0 || (length === 0 && stream.sent < stream.toSend)) return;
      const payload = Buffer.alloc(length + extra);
      if (extra > 0) payload[0] = pad;
      for (let i = 0; i < length; i++) payload[i + (extra > 0 ? 1 : 0)] = byteAt(stream.key, stream.sent + i);
      stream.sent += length;
      stream.sentEnd = stream.sent === stream.toSend;
      stream.sendWindow -= payload.length;
      this.#sendWindow -= payload.length;
      const flags = (extra > 0 ? PADDED : 0) | (stream.sentEnd ? h2.END_STREAM : 0);
      this.write(h2.DATA, flags, stream.id, payload);
    }
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
