/** HTTP/2 frames as bytes (RFC 9113, 4 and 6), for what no proper client would send. */

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const ACK = 1;
export const END_STREAM = 1;
export const END_HEADERS = 4;

const HEAD_BYTES = 9;
const SHORT_MAX = 127;

export function frame(type: number, flags: number, streamId: number, payload: Buffer | string = ""): Buffer {
  const body = Buffer.from(payload as string, "latin1");
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, body]);
}

/** Header fields as literals that nobody remembers (RFC 7541, 6.2.2), each shorter than 127 bytes, whatever is in them. */
export function fields(...pairs: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string): Buffer => {
    if (value.length >= SHORT_MAX) throw new Error("only for short texts");
    return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]);
  };
  return Buffer.concat(pairs.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** The pseudo-headers of a plain GET. */
export const GET = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/"],
  [":authority", "a.test"],
] as const;

/** The frames in what a peer sent, as far as they are whole. */
export function framesOf(received: string): { type: number; flags: number; streamId: number; payload: Buffer }[] {
  const bytes = Buffer.from(received, "latin1");
  const frames = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    if (at + HEAD_BYTES + length > bytes.length) break;
    const payload = bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length);
    frames.push({ type: bytes[at + 3] ?? 0, flags: bytes[at + 4] ?? 0, streamId: bytes.readUInt32BE(at + 5), payload });
    at += HEAD_BYTES + length;
  }
  return frames;
}
