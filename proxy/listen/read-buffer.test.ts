import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

import { expect, onTestFinished, test } from "vitest";

import { tlsPair } from "../../test/support/tls-pair.ts";
import { readBuffer, readInto } from "./read-buffer.ts";

test("what comes after the switch lies in the buffer, and the stream still tells of the end", async () => {
  const { socket, client } = await pair();
  const events: string[] = [];
  socket.on("data", (bytes: Buffer) => events.push(bytes.toString()));
  client.write("first");
  await once(socket, "data");

  const reads: string[] = [];
  // False would mean that this Node keeps `onread` elsewhere, and every request costs a seventh more.
  expect(readInto(socket, (length) => reads.push(readBuffer.toString("latin1", 0, length)))).toBe(true);
  client.end("second");
  await once(socket, "end");

  expect(events).toEqual(["first"]);
  expect(reads.join("")).toBe("second");
});

test("a paused socket gives nothing until it is resumed", async () => {
  const { socket, client } = await pair();
  socket.on("data", () => {});
  const first = once(socket, "data");
  client.write("first");
  await first;
  const read = Promise.withResolvers<string>();
  let reads = 0;
  readInto(socket, (length) => {
    reads++;
    read.resolve(readBuffer.toString("latin1", 0, length));
  });

  socket.pause();
  const { promise: sent, resolve } = Promise.withResolvers<void>();
  client.write("second", () => resolve());
  await sent;
  // Another connection's bytes, sent later, have come: these would have, too.
  await roundTrip();
  expect(reads).toBe(0);

  socket.resume();
  expect(await read.promise).toBe("second");
});

test("one that is paused, or whose stream holds bytes, stays as it is", async () => {
  const { socket, client } = await pair();
  client.write("held");
  await once(socket, "readable");

  expect(readInto(socket, () => {})).toBe(false);
  const data = once(socket, "data");
  socket.resume();
  const [bytes] = (await data) as [Buffer];
  expect(bytes.toString()).toBe("held");
  socket.pause();
  expect(readInto(socket, () => {})).toBe(false);
});

test("TLS decrypts into the buffer as well, record by record", async () => {
  const { socket, client } = await tlsPair();
  const events: string[] = [];
  socket.on("data", (bytes: Buffer) => events.push(bytes.toString()));
  client.write("first");
  await once(socket, "data");

  const reads: string[] = [];
  expect(readInto(socket, (length) => reads.push(readBuffer.toString("latin1", 0, length)))).toBe(true);
  const large = "abc".repeat(50_000);
  client.end(large);
  await once(socket, "end");

  expect(events).toEqual(["first"]);
  expect(reads.length).toBeGreaterThan(1);
  expect(reads.join("")).toBe(large);
});

async function roundTrip(): Promise<void> {
  const { socket, client } = await pair();
  client.write("x");
  await once(socket, "data");
}

async function pair(): Promise<{ socket: Socket; client: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", noDelay: true });
  const [socket] = (await once(server, "connection")) as [Socket];
  onTestFinished(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  return { socket, client };
}
