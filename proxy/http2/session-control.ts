import {
  ACK,
  codes,
  GOAWAY,
  PING,
  PRIORITY,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  uint31At,
  uint32At,
  WINDOW_BYTES_MAX,
  WINDOW_UPDATE,
} from "./frames.ts";
import { SessionStreams } from "./session-streams.ts";
import type { Http2Stream } from "./stream.ts";

/** What a connection does with frames that carry no messages. Each method returns NO_ERROR, or the connection's error. */
export abstract class SessionControl extends SessionStreams {
  /** PINGs of ours that were not answered, a bit for each kind. */
  #pings = 0;

  /** The peer has our SETTINGS. */
  protected abstract onSettingsAck(): void;

  /** Asks for a sign of life; onPong(kind) follows. `kind`: below 8; of each one waits for its answer at a time. */
  ping(kind: number): void {
    if (!this.isOpen) return;
    this.#pings |= 1 << kind;
    this.writePing(kind);
  }

  protected onControl(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): number {
    switch (type) {
      case WINDOW_UPDATE:
        return this.#onWindowUpdate(id, bytes, from, to);
      case RST_STREAM:
        return this.#onReset(id, bytes, from, to);
      case SETTINGS:
        return this.#onSettings(flags, id, bytes, from, to);
      case PING:
        return this.#onPing(flags, id, bytes, from, to);
      case GOAWAY:
        return this.#onGoaway(id, bytes, from, to);
      case PRIORITY:
        return this.#onPriority(id, bytes, from, to);
      case PUSH_PROMISE:
        // Our SETTINGS forbid it to servers, the protocol to clients (RFC 9113, 8.4).
        return codes.PROTOCOL_ERROR;
      default:
        // RFC 9113, 4.1: unknown types are ignored.
        return this.useless();
    }
  }

  #onWindowUpdate(id: number, bytes: Buffer, from: number, to: number): number {
    if (to - from !== 4) return codes.FRAME_SIZE_ERROR;
    const flood = this.useless(this.stats.inbound_window_update_frames_flood);
    if (flood !== codes.NO_ERROR) return flood;
    const increment = uint31At(bytes, from);
    if (id === 0) {
      this.sendWindow += increment;
      if (increment === 0) return codes.PROTOCOL_ERROR;
      if (this.sendWindow > WINDOW_BYTES_MAX) return codes.FLOW_CONTROL_ERROR;
      this.pump();
      return codes.NO_ERROR;
    }
    const stream = this.live.get(id);
    // One that has ended may have crossed it.
    if (stream === undefined) return this.isIdle(id) ? codes.PROTOCOL_ERROR : codes.NO_ERROR;
    stream.sendWindow += increment;
    if (increment === 0) this.failStream(stream, codes.PROTOCOL_ERROR);
    else if (stream.sendWindow > WINDOW_BYTES_MAX) this.failStream(stream, codes.FLOW_CONTROL_ERROR);
    else this.#goOn(stream);
    return codes.NO_ERROR;
  }

  #goOn(stream: Http2Stream): void {
    if (!stream.canSend) return;
    this.queue(stream);
    this.pump();
  }

  #onReset(id: number, bytes: Buffer, from: number, to: number): number {
    if (to - from !== 4) return codes.FRAME_SIZE_ERROR;
    if (id === 0 || this.isIdle(id)) return codes.PROTOCOL_ERROR;
    const stream = this.live.get(id);
    if (stream === undefined) return this.useless();
    this.stats.rx_reset.inc();
    stream.peerReset(uint32At(bytes, from));
    return codes.NO_ERROR;
  }

  #onSettings(flags: number, id: number, bytes: Buffer, from: number, to: number): number {
    if (id !== 0) return codes.PROTOCOL_ERROR;
    const flood = this.useless(this.stats.outbound_control_flood);
    if (flood !== codes.NO_ERROR) return flood;
    if ((flags & ACK) !== 0) {
      if (from !== to) return codes.FRAME_SIZE_ERROR;
      this.onSettingsAck();
      return codes.NO_ERROR;
    }
    const before = this.peer.streamWindowBytes;
    const error = this.peer.apply(bytes, from, to, this.isClient);
    if (error !== codes.NO_ERROR) return error;
    const more = this.peer.streamWindowBytes - before;
    if (!this.#moveWindows(more)) return codes.FLOW_CONTROL_ERROR;
    const { headerTableBytes, lowestHeaderTableBytes } = this.peer;
    if (lowestHeaderTableBytes < headerTableBytes) this.setPeerTableBytes(lowestHeaderTableBytes);
    this.setPeerTableBytes(headerTableBytes);
    // Before anything that the new values allow: "MUST immediately emit a SETTINGS frame with the ACK flag set" (RFC 9113, 6.5.3).
    this.writeSettingsAck();
    if (more > 0) for (const stream of [...this.live.values()]) this.#goOn(stream);
    this.handler.onSettings();
    return codes.NO_ERROR;
  }

  /** RFC 9113, 6.9.2: a change of INITIAL_WINDOW_SIZE moves the windows of all streams, possibly below 0. False: one is too large now. */
  #moveWindows(bytes: number): boolean {
    if (bytes === 0) return true;
    for (const stream of this.live.values()) {
      stream.sendWindow += bytes;
      if (stream.sendWindow > WINDOW_BYTES_MAX) return false;
    }
    return true;
  }

  #onPing(flags: number, id: number, bytes: Buffer, from: number, to: number): number {
    if (id !== 0) return codes.PROTOCOL_ERROR;
    if (to - from !== 8) return codes.FRAME_SIZE_ERROR;
    const isAnswer = (flags & ACK) !== 0;
    const kind = bytes[from] as number;
    if (isAnswer && kind < 8 && (this.#pings & (1 << kind)) !== 0) {
      this.#pings &= ~(1 << kind);
      this.handler.onPong(kind);
      return codes.NO_ERROR;
    }
    const flood = this.useless(this.stats.outbound_control_flood);
    if (!isAnswer && flood === codes.NO_ERROR) this.writePong(bytes, from);
    return flood;
  }

  #onGoaway(id: number, bytes: Buffer, from: number, to: number): number {
    if (id !== 0) return codes.PROTOCOL_ERROR;
    if (to - from < 8) return codes.FRAME_SIZE_ERROR;
    const flood = this.useless();
    if (flood !== codes.NO_ERROR) return flood;
    const last = uint31At(bytes, from);
    // First, so that what is given back does not come back to this connection.
    this.handler.onGoaway(uint32At(bytes, from + 4));
    if (this.isClient) {
      // RFC 9113, 6.8: the endpoint has not looked at them, and they may go elsewhere.
      for (const [streamId, stream] of [...this.live]) {
        if (streamId > last) stream.close("given back", codes.REFUSED_STREAM);
      }
    }
    return codes.NO_ERROR;
  }

  /** Deprecated (RFC 9113, 5.3): only its form is looked at. */
  #onPriority(id: number, bytes: Buffer, from: number, to: number): number {
    if (id === 0) return codes.PROTOCOL_ERROR;
    const flood = this.useless(this.stats.inbound_priority_frames_flood);
    if (flood !== codes.NO_ERROR) return flood;
    const isOfSize = to - from === 5;
    if (isOfSize && uint31At(bytes, from) !== id) return codes.NO_ERROR;
    const error = isOfSize ? codes.PROTOCOL_ERROR : codes.FRAME_SIZE_ERROR;
    const stream = this.live.get(id);
    // Of a stream that isn't open nothing can be reset.
    if (stream === undefined) return error;
    this.failStream(stream, error);
    return codes.NO_ERROR;
  }
}
