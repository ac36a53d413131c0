/** Answers that break off, or speak of content where none may be: what the client and the log get to see of them. */
import type { Socket } from "node:net";

import { expect, test } from "vitest";

import { clusterOf, DataPath, type DataPathOptions, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/** Asks an origin that handles its one connection by `answer`, once the request's head is there. */
async function ask(answer: (socket: Socket) => void, changes: DataPathOptions = {}) {
  await using origin = await TestServer.raw((socket) =>
    socket.on("error", () => {}).once("data", () => answer(socket)),
  );
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), ...changes });
  const text = await exchange(path.port, GET);
  await until(() => path.records.length === 1);
  return { text, record: path.records[0], protocolErrors: path.stats.get("upstream_cx_protocol_error") };
}

/** Closes by RST once the peer has read everything before it. */
const reset = (socket: Socket, text: string): void => void socket.write(text, () => socket.resetAndDestroy());

test.each([
  ["103 with a content-length", "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"],
  ["103 with transfer-encoding", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["204 with a content-length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"],
  ["204 with transfer-encoding", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
])("sec 8 a response of %s is 502 with UPE", async (_title, head) => {
  const { text, record } = await ask((socket) => socket.write(`${head}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`));
  expect(text).toMatch(/^HTTP\/1.1 502 [^]*reset reason: protocol error$/);
  expect(record).toMatchObject({ status: 502, flags: ["UPE"] });
});

test("a 204 that says that its content has no bytes is one", async () => {
  const { text } = await ask((socket) => socket.write("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"));
  expect(text).toMatch(/^HTTP\/1.1 204 No Content\r\n(?![^]*content-length)/);
});

test.each(["H", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"])(
  "a connection that ends behind %j is 502 with UPE, as Envoy has it",
  async (part) => {
    const { text, record, protocolErrors } = await ask((socket) => socket.end(part));
    expect(text).toMatch(/^HTTP\/1.1 502 [^]*reset reason: protocol error$/);
    expect(record?.flags).toEqual(["UPE"]);
    expect(protocolErrors).toBe(1);
  },
);

test("a connection that ends behind nothing, or behind a whole 103, is 503 with UC", async () => {
  for (const before of ["", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]) {
    const { text, record } = await ask((socket) => socket.end(before));
    expect(text).toMatch(/HTTP\/1.1 503 [^]*reset reason: connection termination$/);
    expect(record?.flags).toEqual(["UC"]);
  }
});

test.each([
  ["by length", "Content-Length: 10\r\n\r\nabc", "UPE"],
  ["in chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "UPE"],
  // Its end is the connection's, and this was none.
  ["until close", "\r\nabc", "UC"],
])("a body %s whose connection is reset is cut", async (_title, rest, flag) => {
  const { text, record } = await ask((socket) => reset(socket, `HTTP/1.1 200 OK\r\n${rest}`));
  // Whether what came before the reset is still read is up to the kernel.
  expect(text).not.toMatch(/0\r\n\r\n$/);
  if (text.startsWith("HTTP/1.1 200 ")) expect(record?.flags).toEqual([flag]);
  else expect(record?.flags).toEqual(["UC"]);
});

test("what the route's timeout breaks off is logged by Envoy's words for that", async () => {
  const { text, record } = await ask((socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), {
    action: { timeoutMs: 2_000 },
  });
  expect(text).toMatch(/\r\n\r\nabc$/);
  expect(record).toMatchObject({ status: 200, flags: ["UT"], details: "response_timeout" });
});
