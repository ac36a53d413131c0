import { createServer as createHttpsServer } from "node:https";
import { createServer as createTcpServer, type Socket } from "node:net";
import { createServer } from "node:tls";

import { expect, test } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { waitFor } from "../../test/support/wait.ts";
import type { ClusterAccess } from "./access.ts";
import { KubernetesApi } from "./api.ts";
import { connect } from "./transport.ts";

/** An empty SETTINGS frame (RFC 9113, 6.5). */
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/** A server that speaks HTTP/2 as far as its SETTINGS, and how to reach it. */
async function start(authority: TestAuthority) {
  const { cert, key } = authority.issue({ name: "localhost", altNames: ["IP:127.0.0.1"] });
  const server = createServer({ cert, key, ALPNProtocols: ["h2"] }, (socket) => {
    socket.on("error", () => {}).resume();
    socket.write(SETTINGS);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("it listens on a port");
  const access: ClusterAccess = {
    server: new URL(`https://127.0.0.1:${address.port}`),
    ca: authority.cert,
    insecureSkipTlsVerify: false,
    credentials: { get: () => Promise.resolve({}), refused: () => {} },
    namespace: "default",
  };
  return { access, [Symbol.dispose]: () => void server.close() };
}

test("a server that answers no PING is given up, and no further one is tried", async () => {
  using authority = new TestAuthority();
  using server = await start(authority);
  // The next PING falls due just when the one before is given up.
  const times = { connectTimeoutMs: 60_000, pingIntervalMs: 20, pingTimeoutMs: 20 };
  const giveUp = async () => {
    const transport = await connect(server.access, {}, times);
    await expect(transport.get("/", {}, AbortSignal.timeout(60_000))).rejects.toThrow("HTTP/2 PING");
    await waitFor("the end", () => !transport.usable);
  };
  await Promise.all(Array.from({ length: 20 }, giveUp));
});

test("certificates to trust that were renewed in their file count from the next connection on", async () => {
  using before = new TestAuthority();
  using now = new TestAuthority();
  using server = await start(now);
  const times = { connectTimeoutMs: 60_000, pingIntervalMs: 60_000, pingTimeoutMs: 60_000 };
  const access = { ...server.access, ca: before.cert };
  await expect(connect(access, {}, times)).rejects.toThrow(/certificate/);
  await expect(connect({ ...access, readCa: () => undefined }, {}, times)).rejects.toThrow(/certificate/);
  const transport = await connect({ ...access, readCa: () => now.cert }, {}, times);
  transport.close();
  const unreadable = () => {
    throw new Error("ENOENT");
  };
  const other = await connect({ ...server.access, readCa: unreadable }, {}, times);
  other.close();
});

test("a registry that is closed while several wait for its connection over HTTP/1.1 leaves nothing behind that is thrown", async () => {
  using authority = new TestAuthority();
  const { cert, key } = authority.issue({ name: "localhost", altNames: ["IP:127.0.0.1"] });
  const https = createHttpsServer({ cert, key }, (_, response) => response.end("{}"));
  // Hands are shaken when the test says so.
  const came: Socket[] = [];
  const tcp = createTcpServer((socket) => void came.push(socket.on("error", () => {})));
  await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
  const address = tcp.address();
  if (address === null || typeof address === "string") throw new Error("it listens on a port");
  const api = new KubernetesApi({
    server: new URL(`https://127.0.0.1:${address.port}`),
    ca: authority.cert,
    insecureSkipTlsVerify: false,
    credentials: { get: () => Promise.resolve({}), refused: () => {} },
    namespace: "default",
  });
  const closed = new AbortController();
  const asked = Promise.allSettled([1, 2, 3].map(() => api.get("/", closed.signal)));
  await waitFor("a connection", () => came.length === 1);
  api.close();
  closed.abort(new Error("closed"));
  for (const socket of came) https.emit("connection", socket);
  for (const { status } of await asked) expect(status).toBe("rejected");
  https.closeAllConnections();
  for (const socket of came) socket.destroy();
  await new Promise((resolve) => tcp.close(resolve));
});
