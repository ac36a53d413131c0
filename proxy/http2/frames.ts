/** HTTP/2's words (RFC 9113, 6, 7 and 11), as plain numbers: they are compared and written for each frame. */

// Types of frames.
export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

// Flags.
export const ACK = 0x1;
export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;
export const WITH_PRIORITY = 0x20;

/** Error codes (RFC 9113, 7), by their names there. */
export const codes = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

const names: readonly string[] = Object.keys(codes);

/** The name of an error code; one that RFC 9113 doesn't have is "INTERNAL_ERROR", as which it is to be taken (7). */
export const codeName = (code: number): string => names[code] ?? "INTERNAL_ERROR";

/** Bytes of a frame's head. */
export const FRAME_HEAD_BYTES = 9;

/**
 * What a frame's payload may have: SETTINGS_MAX_FRAME_SIZE as it is unless somebody says otherwise (RFC 9113, 6.5.2). We don't, and never
 * write a larger one, whatever the peer would take: smaller frames let streams take turns.
 */
export const FRAME_BYTES_MAX = 16_384;

/** RFC 9113, 6.9.2: what a window is before anybody says otherwise, and what it can be. */
export const WINDOW_BYTES_DEFAULT = 65_535;
export const WINDOW_BYTES_MAX = 2 ** 31 - 1;

/** The largest stream identifier. As that of a GOAWAY it announces the end: "with the last stream identifier set to 2^31-1" (RFC 9113, 6.8). */
export const STREAM_ID_MAX = 2 ** 31 - 1;

/** The 31 bits of a stream identifier or an increment; the bit before them is reserved (RFC 9113, 4.1). */
export const uint31At = (bytes: Buffer, at: number): number =>
  (((bytes[at] as number) & 0x7f) << 24) |
  ((bytes[at + 1] as number) << 16) |
  ((bytes[at + 2] as number) << 8) |
  (bytes[at + 3] as number);

export const uint32At = (bytes: Buffer, at: number): number =>
  (((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)) >>>
  0;

export function writeUint32(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Writes a frame's head; returns where its payload begins. */
export function writeFrameHead(
  into: Buffer,
  at: number,
  type: number,
  flags: number,
  id: number,
  length: number,
): number {
  into[at] = length >>> 16;
  into[at + 1] = length >>> 8;
  into[at + 2] = length;
  into[at + 3] = type;
  into[at + 4] = flags;
  writeUint32(into, at + 5, id);
  return at + FRAME_HEAD_BYTES;
}
