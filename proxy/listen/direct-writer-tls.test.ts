import { once } from "node:events";
import type { TLSSocket } from "node:tls";

import { expect, test } from "vitest";

import { tlsPair } from "../../test/support/tls-pair.ts";
import { waitFor } from "../../test/support/wait.ts";
import { DirectWriter } from "./direct-writer.ts";

/** More than the kernel takes for a client that doesn't read. */
const LARGE = 32 * 1024 * 1024;

test("TLS takes one write at a time past the stream, and the next one when that is done", async () => {
  const { socket, client } = await tlsPair();
  const writer = new DirectWriter(socket);

  // False would mean that this Node writes otherwise, and each response costs more.
  expect(writer.write("first ")).toBe(true);
  expect(writer.write("not now")).toBe(false);
  await waitFor("the first write to be done", () => writer.writeBytes(Buffer.from("second")));
  socket.end();

  expect(await textOf(client)).toBe("first second");
});

test("what the stream writes or ends with meanwhile waits for it", async () => {
  const { socket, client } = await tlsPair();
  const writer = new DirectWriter(socket);

  writer.write("first ");
  socket.cork();
  socket.write("second ");
  socket.write("third ");
  socket.uncork();
  socket.end("and the end");

  expect(await textOf(client)).toBe("first second third and the end");
});

test("an end that comes right behind it waits as well, so that nothing is cut off", async () => {
  const { socket, client } = await tlsPair();
  const writer = new DirectWriter(socket);

  expect(writer.write("x".repeat(LARGE))).toBe(true);
  expect(writer.unsentBytes).toBeGreaterThan(0);
  socket.destroySoon();

  expect((await textOf(client)).length).toBe(LARGE);
  expect(writer.unsentBytes).toBe(0);
});

test("whoever is told that the kernel has taken what it left may write at once", async () => {
  const { socket, client } = await tlsPair();
  const writer: DirectWriter = new DirectWriter(socket, () => {
    expect(writer.write("tail")).toBe(true);
    socket.end();
  });

  expect(writer.write("x".repeat(LARGE))).toBe(true);

  const text = await textOf(client);
  expect(text.length).toBe(LARGE + 4);
  expect(text.endsWith("xtail")).toBe(true);
});

test("a client that goes away meanwhile ends the socket, and nothing else", async () => {
  const { socket, client } = await tlsPair();
  socket.on("error", () => {});
  const writer = new DirectWriter(socket);
  writer.write("x".repeat(LARGE));
  socket.write("tail");

  const closed = new Promise((resolve) => socket.once("close", resolve));
  client.destroy();
  await closed;

  expect(writer.unsentBytes).toBe(0);
  expect(writer.write("nobody there")).toBe(false);
});

async function textOf(client: TLSSocket): Promise<string> {
  const pieces: Buffer[] = [];
  client.on("data", (piece: Buffer) => pieces.push(piece));
  await once(client, "end");
  return Buffer.concat(pieces).toString("latin1");
}
