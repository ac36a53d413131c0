/** The readers of first bytes: PROXY headers and ClientHellos, at every boundary. */
import { once } from "node:events";
import { connect } from "node:tls";
import { createServer, type Socket } from "node:net";

import { expect, test } from "vitest";

import { readClientHello } from "./client-hello.ts";
import { type ProxyHeader, readProxyHeader } from "./proxy-protocol.ts";

const both = { v1: true, v2: true };
const SIGNATURE = "\r\n\r\n\0\r\nQUIT\n";
const v2 = (command: number, family: number, body: number[], length = body.length) =>
  Buffer.concat([Buffer.from(SIGNATURE, "latin1"), Buffer.from([command, family, length >> 8, length & 255, ...body])]);
const ADDRESSES = [1, 2, 3, 4, 5, 6, 7, 8, 0x1f, 0x90, 0, 80];
const source = { sourceAddress: "1.2.3.4", sourcePort: 8080, destinationAddress: "5.6.7.8", destinationPort: 80 };

test.each<[string, Buffer | string, ProxyHeader]>([
  ["v1", "PROXY TCP4 1.2.3.4 5.6.7.8 8080 80\r\nGET", { kind: "header", length: 36, source }],
  ["v1 without addresses", "PROXY UNKNOWN\r\n", { kind: "header", length: 15, source: undefined }],
  [
    "v1 of IPv6",
    "PROXY TCP6 ::1 ::2 1 2\r\n",
    {
      kind: "header",
      length: 24,
      source: { sourceAddress: "::1", destinationAddress: "::2", sourcePort: 1, destinationPort: 2 },
    },
  ],
  ["v1 with the wrong family", "PROXY TCP4 ::1 ::2 1 2\r\n", { kind: "malformed" }],
  ["v1 with a port too large", "PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n", { kind: "malformed" }],
  ["v1 that does not end", `PROXY TCP4 ${"1".repeat(100)}`, { kind: "malformed" }],
  ["v2", v2(0x21, 0x11, ADDRESSES), { kind: "header", length: 28, source }],
  ["v2 with extras", v2(0x21, 0x11, [...ADDRESSES, 4, 0, 1, 9]), { kind: "header", length: 32, source }],
  ["v2 LOCAL", v2(0x20, 0, []), { kind: "header", length: 16, source: undefined }],
  ["v2 of another version", v2(0x11, 0x11, ADDRESSES), { kind: "malformed" }],
  ["v2 that is too short", v2(0x21, 0x11, [1, 2]), { kind: "malformed" }],
  ["v2 that is too long", v2(0x21, 0x11, [], 0xffff), { kind: "malformed" }],
  ["v2 of a Unix socket", v2(0x21, 0x31, ADDRESSES), { kind: "malformed" }],
  ["something else", "GET / HTTP/1.1\r\n", { kind: "none" }],
])("PROXY: %s, and none of its beginnings", (_, text, expected) => {
  const bytes = Buffer.from(text as string, "latin1");
  expect(readProxyHeader(bytes, both)).toEqual(expected);
  if (expected.kind !== "header") return;
  for (let end = 1; end < expected.length; end++) {
    expect(readProxyHeader(bytes.subarray(0, end), both).kind).toBe("incomplete");
  }
});

test("a version that is not allowed is malformed", () => {
  expect(readProxyHeader(Buffer.from("PROXY UNKNOWN\r\n"), { v1: false, v2: true }).kind).toBe("malformed");
  expect(readProxyHeader(v2(0x20, 0, []), { v1: true, v2: false }).kind).toBe("malformed");
});

/** The first bytes of a real TLS client. */
async function clientHello(): Promise<Buffer> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as { port: number };
  const client = connect({ port, host: "127.0.0.1", servername: "A.test", ALPNProtocols: ["h2", "http/1.1"] });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  client.destroy();
  server.close();
  return bytes;
}

/** The same message in records of so many bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(records);
}

test("a ClientHello is read whole, in pieces, and over many records", async () => {
  const hello = await clientHello();
  const expected = { kind: "hello", serverName: "a.test", applicationProtocols: ["h2", "http/1.1"] };
  expect(readClientHello(hello)).toEqual(expected);
  expect(readClientHello(inRecords(hello, 7))).toEqual(expected);
  for (let end = 0; end < hello.length; end++) expect(readClientHello(hello.subarray(0, end)).kind).toBe("incomplete");
});

test.each([
  ["HTTP", "GET / HTTP/1.1\r\n"],
  ["a record that is too long", "\x16\x03\x01\xff\xff\x01"],
  ["an empty record", "\x16\x03\x01\x00\x00"],
  ["another handshake message", "\x16\x03\x01\x00\x04\x02\x00\x00\x00"],
  ["a message that is too long", "\x16\x03\x01\x00\x04\x01\xff\xff\xff"],
  ["a message that ends too soon", "\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03"],
])("%s is no ClientHello", (_, text) => {
  expect(readClientHello(Buffer.from(text, "latin1")).kind).toBe("other");
});
