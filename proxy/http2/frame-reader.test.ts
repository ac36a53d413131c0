import { expect, test } from "vitest";

import * as h2 from "../../test/support/http2-frames.ts";
import { type FrameSink, FrameReader } from "./frame-reader.ts";
import { codes, FRAME_BYTES_MAX, PADDED } from "./frames.ts";

/** Writes down what it is told, with DATA joined to one entry a frame. */
class Recorder implements FrameSink {
  readonly reading = true;
  readonly seen: string[] = [];
  #data = "";

  onDataHead(flags: number, streamId: number, length: number): number {
    this.#data = `0 ${flags} ${streamId} ${length} `;
    return codes.NO_ERROR;
  }

  onDataPiece(bytes: Buffer, from: number, to: number): void {
    this.#data += bytes.toString("latin1", from, to);
  }

  onDataEnd(): number {
    this.seen.push(this.#data);
    return codes.NO_ERROR;
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, from: number, to: number): number {
    this.seen.push(`${type} ${flags} ${streamId} ${bytes.toString("latin1", from, to)}`);
    return codes.NO_ERROR;
  }
}

const input = Buffer.concat([
  h2.PREFACE,
  h2.frame(h2.SETTINGS, 0, 0),
  h2.frame(h2.HEADERS, h2.END_HEADERS, 1, "head"),
  h2.frame(h2.DATA, 0, 1, "body"),
  h2.frame(h2.DATA, 0, 1),
  h2.frame(h2.DATA, PADDED, 1, "\x03abc\0\0\0"),
  h2.frame(h2.DATA, PADDED, 1, "\x02\0\0"),
  h2.frame(h2.DATA, h2.END_STREAM | PADDED, 1, "\0z"),
  h2.frame(0xbe, 0xff, 2 ** 31 - 1, "unknown"),
]);
const whole = [
  "4 0 0 ",
  "1 4 1 head",
  "0 0 1 4 body",
  "0 0 1 0 ",
  "0 8 1 7 abc",
  "0 8 1 3 ",
  "0 9 1 2 z",
  "190 255 2147483647 unknown",
];

test.each(Array.from({ length: input.length }, (_, i) => i + 1))("frames are the same in reads of %i", (size) => {
  const sink = new Recorder();
  const reader = new FrameReader(sink, true);
  for (let at = 0; at < input.length; at += size) {
    // What one read gave is gone when the next one comes.
    const bytes = Buffer.from(input.subarray(at, at + size));
    expect(reader.read(bytes, 0, bytes.length)).toBe(codes.NO_ERROR);
    bytes.fill(0xff);
  }
  expect(sink.seen).toEqual(whole);
  expect(reader.unfinished).toBe(false);
});

test("every beginning of a frame other than DATA, and of the preface, is unfinished", () => {
  const opening = Buffer.concat([h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0, "abcdef")]);
  for (let length = 1; length < opening.length; length++) {
    const reader = new FrameReader(new Recorder(), true);
    reader.read(opening, 0, length);
    expect([length, reader.unfinished]).toEqual([length, length !== h2.PREFACE.length]);
  }
});

const broken: [string, Buffer, number][] = [
  ["another preface", Buffer.from("PRI * HTTP/2.1", "latin1"), codes.PROTOCOL_ERROR],
  [
    "a frame above our limit",
    Buffer.concat([h2.PREFACE, Buffer.from([0, 0x40, 1, 1, 0, 0, 0, 0, 1])]),
    codes.FRAME_SIZE_ERROR,
  ],
  ["padding without a length", Buffer.concat([h2.PREFACE, h2.frame(h2.DATA, PADDED, 1)]), codes.FRAME_SIZE_ERROR],
  [
    "more padding than frame",
    Buffer.concat([h2.PREFACE, h2.frame(h2.DATA, PADDED, 1, "\x03ab")]),
    codes.PROTOCOL_ERROR,
  ],
];

test.each(broken)("%s is an error, wherever reads end", (_title, bytes, code) => {
  for (const size of [1, 5, bytes.length]) {
    const reader = new FrameReader(new Recorder(), true);
    let error: number = codes.NO_ERROR;
    for (let at = 0; at < bytes.length && error === codes.NO_ERROR; at += size) {
      error = reader.read(bytes, at, Math.min(at + size, bytes.length));
    }
    expect(error).toBe(code);
  }
});

test("a frame as large as may be is read, in pieces and whole", () => {
  const bytes = h2.frame(h2.HEADERS, 0, 1, "x".repeat(FRAME_BYTES_MAX));
  for (const size of [1_000, bytes.length]) {
    const sink = new Recorder();
    const reader = new FrameReader(sink, false);
    for (let at = 0; at < bytes.length; at += size) reader.read(bytes, at, Math.min(at + size, bytes.length));
    expect(sink.seen).toEqual([`1 0 1 ${"x".repeat(FRAME_BYTES_MAX)}`]);
  }
});
