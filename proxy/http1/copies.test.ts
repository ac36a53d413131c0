import { expect, test } from "vitest";

import { copyOf } from "./copies.ts";

const piece = (byte: number) => Buffer.alloc(65_536, byte);

test("a copy keeps its bytes while it is not written, whatever is copied after it", () => {
  const source = piece(1);
  const first = copyOf(source, 0, source.length);
  source.fill(2);
  const second = copyOf(source, 10, 40_000);
  expect(first.bytes.equals(piece(1))).toBe(true);
  expect(second.bytes.equals(piece(2).subarray(10, 40_000))).toBe(true);
});

test("memory serves again once it was written, and not after a write that failed", () => {
  const failed = copyOf(piece(3), 0, 65_536);
  failed.written(new Error("reset"));
  const written = copyOf(piece(4), 0, 65_536);
  expect(written.bytes.buffer).not.toBe(failed.bytes.buffer);
  written.written();
  expect(copyOf(piece(5), 0, 65_536).bytes.buffer).toBe(written.bytes.buffer);
});

test("a small piece, and one larger than a read, have memory of their own", () => {
  for (const length of [1_000, 100_000]) {
    const source = Buffer.alloc(length, 6);
    const copy = copyOf(source, 0, length);
    expect(copy.bytes.equals(source)).toBe(true);
    copy.written();
    expect(copyOf(piece(7), 0, 65_536).bytes.buffer).not.toBe(copy.bytes.buffer);
  }
});
