import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

import { expect, onTestFinished, test } from "vitest";

import { DirectWriter } from "./direct-writer.ts";

/** More than the kernel takes for a client that doesn't read. */
const LARGE = 32 * 1024 * 1024;

test("what the kernel takes at once is gone, and the stream knows nothing of it", async () => {
  const { socket, client } = await pair();
  const writer = new DirectWriter(socket);

  expect(writer.write("first ")).toBe(true);
  expect(writer.unsentBytes).toBe(0);
  expect(writer.write("second ")).toBe(true);
  socket.end("and what the stream writes");

  expect(await textOf(client)).toBe("first second and what the stream writes");
  expect(socket.bytesWritten).toBe(39);
});

test("what it doesn't take comes before all that is written or ended with later", async () => {
  const { socket, client } = await pair();
  const writer = new DirectWriter(socket);

  expect(writer.write("x".repeat(LARGE))).toBe(true);
  expect(writer.unsentBytes).toBeGreaterThan(0);
  // The order is libuv's from here on; only the stream can say when there is too much.
  expect(writer.write("not now")).toBe(false);
  socket.write("tail");
  socket.destroySoon();

  const text = await textOf(client);
  expect(text.length).toBe(LARGE + 4);
  expect(text.endsWith("xtail")).toBe(true);
  expect(writer.unsentBytes).toBe(0);
});

test("a client that goes away meanwhile ends the socket, and nothing else", async () => {
  const { socket, client } = await pair();
  socket.on("error", () => {});
  const writer = new DirectWriter(socket);
  writer.write("x".repeat(LARGE));
  expect(writer.unsentBytes).toBeGreaterThan(0);

  const closed = new Promise((resolve) => socket.once("close", resolve));
  client.resetAndDestroy();
  await closed;

  expect(writer.unsentBytes).toBe(0);
  expect(writer.write("nobody there")).toBe(false);
});

async function pair(): Promise<{ socket: Socket; client: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
  const [socket] = (await once(server, "connection")) as [Socket];
  onTestFinished(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  return { socket, client };
}

async function textOf(client: Socket): Promise<string> {
  const pieces: Buffer[] = [];
  client.on("data", (piece: Buffer) => pieces.push(piece));
  await once(client, "end");
  return Buffer.concat(pieces).toString("latin1");
}
