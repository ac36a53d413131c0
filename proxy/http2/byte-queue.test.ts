import { expect, test } from "vitest";

import { ByteQueue } from "./byte-queue.ts";

/** Takes all, in portions of a size. */
function drain(queue: ByteQueue, size: number): string {
  let text = "";
  while (!queue.isEmpty) {
    const first = queue.first as Buffer;
    const to = Math.min(queue.to, queue.from + size);
    text += first.toString("latin1", queue.from, to);
    queue.take(to - queue.from);
  }
  return text;
}

test.each([1, 3, 1_000, 100_000])("bytes come out as they went in, in portions of %i", (size) => {
  const queue = new ByteQueue();
  let expected = "";
  for (let i = 0; i < 300; i++) {
    const piece = Buffer.alloc((i * 37) % 200, String(i % 10));
    queue.push(Buffer.concat([Buffer.from("--"), piece, Buffer.from("--")]), 2, 2 + piece.length);
    expected += piece.toString("latin1");
  }
  queue.push(Buffer.alloc(70_000, "x"), 0, 70_000);
  expect(drain(queue, size)).toBe(`${expected}${"x".repeat(70_000)}`);
  expect(queue.first).toBe(undefined);
});

test("what is added while it is taken comes behind", () => {
  const queue = new ByteQueue();
  queue.push(Buffer.from("ab"), 0, 2);
  queue.take(1);
  queue.push(Buffer.from("cd"), 0, 2);
  expect(drain(queue, 10)).toBe("bcd");
  queue.push(Buffer.from("ef"), 0, 2);
  expect(drain(queue, 10)).toBe("ef");
});

test("single bytes share memory, and the caller's memory isn't kept", () => {
  const queue = new ByteQueue();
  const byte = Buffer.from("a");
  for (let i = 0; i < 4_096; i++) queue.push(byte, 0, 1);
  byte[0] = 0x62;
  expect(queue.to - queue.from).toBe(4_096);
  expect(drain(queue, 5_000)).toBe("a".repeat(4_096));
});
