import { codes, FRAME_BYTES_MAX, uint32At, WINDOW_BYTES_DEFAULT, WINDOW_BYTES_MAX, writeUint32 } from "./frames.ts";

// RFC 9113, 6.5.2, and RFC 8441, 3.
const HEADER_TABLE_SIZE = 1;
const ENABLE_PUSH = 2;
const MAX_CONCURRENT_STREAMS = 3;
const INITIAL_WINDOW_SIZE = 4;
const MAX_FRAME_SIZE = 5;
const MAX_HEADER_LIST_SIZE = 6;
const ENABLE_CONNECT_PROTOCOL = 8;

const ENTRY_BYTES = 6;
const FRAME_BYTES_LIMIT = 2 ** 24 - 1;
/** Entries of one frame; a peer needs six or so. */
const ENTRIES_MAX = 32;

/** What we tell the peer. */
export interface OwnSettings {
  /** HPACK's table for what the peer sends, in bytes. */
  readonly headerTableBytes: number;
  /** What the peer may send ahead on one stream, and on all of them together. */
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** Streams that the peer may have open; undefined: it opens none. */
  readonly maxConcurrentStreams: number | undefined;
  /** A head or trailers: bytes as RFC 9113, 6.5.2 counts them (32 for each field), and how many fields. */
  readonly headerListBytes: number;
  readonly headerFields: number;
  /** Whether the peer may use extended CONNECT (RFC 8441). */
  readonly connectProtocol: boolean;
}

/** The payload of our SETTINGS frame. */
export function settingsPayload(own: OwnSettings): Buffer {
  const entries: [number, number][] = [[HEADER_TABLE_SIZE, own.headerTableBytes]];
  if (own.maxConcurrentStreams === undefined) entries.push([ENABLE_PUSH, 0]);
  else entries.push([MAX_CONCURRENT_STREAMS, own.maxConcurrentStreams]);
  entries.push([INITIAL_WINDOW_SIZE, own.streamWindowBytes], [MAX_HEADER_LIST_SIZE, own.headerListBytes]);
  if (own.connectProtocol) entries.push([ENABLE_CONNECT_PROTOCOL, 1]);
  const payload = Buffer.alloc(entries.length * ENTRY_BYTES);
  entries.forEach(([id, value], i) => {
    payload[i * ENTRY_BYTES + 1] = id;
    writeUint32(payload, i * ENTRY_BYTES + 2, value);
  });
  return payload;
}

/** What the peer has told us; before that, what holds without a word (RFC 9113, 6.5.2). */
export class PeerSettings {
  /** Whether they have come. */
  known = false;
  headerTableBytes = 4_096;
  /** The smallest that was among those of the last frame; "the smallest value" has to be told, too (RFC 7541, 4.2). */
  lowestHeaderTableBytes = 4_096;
  maxConcurrentStreams: number = Number.POSITIVE_INFINITY;
  streamWindowBytes: number = WINDOW_BYTES_DEFAULT;
  /** Whether extended CONNECT may be sent (RFC 8441). */
  connectProtocol = false;

  /** Takes over a frame's payload. Returns NO_ERROR, or the connection's error. `fromServer`: the peer is a server. */
  apply(bytes: Buffer, from: number, to: number, fromServer: boolean): number {
    if ((to - from) % ENTRY_BYTES !== 0) return codes.FRAME_SIZE_ERROR;
    if ((to - from) / ENTRY_BYTES > ENTRIES_MAX) return codes.ENHANCE_YOUR_CALM;
    this.lowestHeaderTableBytes = Number.POSITIVE_INFINITY;
    for (let at = from; at < to; at += ENTRY_BYTES) {
      const id = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
      const error = this.#set(id, uint32At(bytes, at + 2), fromServer);
      if (error !== codes.NO_ERROR) return error;
    }
    this.known = true;
    return codes.NO_ERROR;
  }

  #set(id: number, value: number, fromServer: boolean): number {
    switch (id) {
      case HEADER_TABLE_SIZE:
        this.headerTableBytes = value;
        this.lowestHeaderTableBytes = Math.min(this.lowestHeaderTableBytes, value);
        break;
      case ENABLE_PUSH:
        // "A client MUST treat receipt of a SETTINGS frame with SETTINGS_ENABLE_PUSH set to 1 as a connection error".
        if (value > (fromServer ? 0 : 1)) return codes.PROTOCOL_ERROR;
        break;
      case MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value;
        break;
      case INITIAL_WINDOW_SIZE:
        if (value > WINDOW_BYTES_MAX) return codes.FLOW_CONTROL_ERROR;
        this.streamWindowBytes = value;
        break;
      case MAX_FRAME_SIZE:
        // Ours are of the least size that anybody must take.
        if (value < FRAME_BYTES_MAX || value > FRAME_BYTES_LIMIT) return codes.PROTOCOL_ERROR;
        break;
      case ENABLE_CONNECT_PROTOCOL:
        // RFC 8441, 3: "MUST NOT send [...] 0 after previously sending [...] 1".
        if (value > 1 || (this.connectProtocol && value === 0)) return codes.PROTOCOL_ERROR;
        this.connectProtocol = value === 1;
        break;
      default:
      // MAX_HEADER_LIST_SIZE is advice, which concerns who makes the fields; "MUST ignore" what is unknown.
    }
    return codes.NO_ERROR;
  }
}
