import type { Socket } from "node:net";

import { TestServer } from "./data-path.ts";

/** Frame types of HTTP/2 (RFC 9113, 6). */
export const frames = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
/** Flags of DATA and HEADERS. */
export const END_STREAM = 1;
export const END_HEADERS = 4;

const PREFACE_BYTES = 24;
const HEADER_BYTES = 9;

/** A frame's bytes. */
export function frame(type: number, flags: number, streamId: number, payload: Buffer | string = ""): Buffer {
  const body = Buffer.from(payload);
  const bytes = Buffer.alloc(HEADER_BYTES + body.length);
  bytes.writeUIntBE(body.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(streamId, 5);
  body.copy(bytes, HEADER_BYTES);
  return bytes;
}

/** A 32-bit number, as RST_STREAM and GOAWAY hold them. */
export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, at) => bytes.writeUInt32BE(value, 4 * at));
  return bytes;
}

/** Fields in HPACK, as literals of less than 127 bytes that nobody checked (RFC 7541, 6.2.2). */
export function fieldBlock(fields: readonly (readonly [string, string])[]): Buffer {
  const parts = fields.flatMap(([name, value]) => [
    Buffer.from([0, name.length]),
    Buffer.from(name, "latin1"),
    Buffer.from([value.length]),
    Buffer.from(value, "latin1"),
  ]);
  return Buffer.concat(parts);
}

/** A HEADERS frame. */
export const head = (streamId: number, flags: number, ...fields: [string, string][]): Buffer =>
  frame(frames.headers, END_HEADERS | flags, streamId, fieldBlock(fields));

/** An origin that speaks HTTP/2 frame by frame: for every request it writes what the test gives it. */
export function rawHttp2Origin(answer: (streamId: number, socket: Socket) => Buffer | undefined): Promise<TestServer> {
  return TestServer.raw((socket) => {
    let bytes = Buffer.alloc(0);
    let preface = PREFACE_BYTES;
    socket.write(frame(frames.settings, 0, 0));
    socket.on("data", (piece) => {
      bytes = Buffer.concat([bytes, piece]);
      if (preface > 0) {
        if (bytes.length < preface) return;
        bytes = bytes.subarray(preface);
        preface = 0;
      }
      while (bytes.length >= HEADER_BYTES && bytes.length >= HEADER_BYTES + bytes.readUIntBE(0, 3)) {
        const [type, streamId] = [bytes[3], bytes.readUInt32BE(5)];
        bytes = bytes.subarray(HEADER_BYTES + bytes.readUIntBE(0, 3));
        const reply = type === frames.headers ? answer(streamId, socket) : undefined;
        if (reply !== undefined && !socket.destroyed) socket.write(reply);
      }
    });
  });
}
