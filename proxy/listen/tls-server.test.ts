/** Handshakes that never come to be: whoever waits for one hears of its end. */
import { createServer, type Socket } from "node:net";

import { afterAll, expect, test } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { answering, downstreamTls, inlineCertificate, listenerOptions } from "../../test/support/json-listener.ts";
import { type Handshake, TlsServer } from "./tls-server.ts";

const authority = new TestAuthority();
afterAll(() => authority[Symbol.dispose]());

function tlsServer(): TlsServer {
  const certificate = inlineCertificate(authority.issue({ name: "a", altNames: ["DNS:a.test"] }));
  const [chain] = listenerOptions([answering("", downstreamTls({ tlsCertificates: [certificate] }))]).chains;
  if (chain?.tls === undefined) throw new Error("no TLS");
  return new TlsServer(chain.tls, { secret: () => undefined }, () => undefined);
}

/** Whether the kernel has forgotten the other end of a connection. Asking the socket itself would have it remember an answer. */
function isReset(socket: Socket): boolean {
  const { _handle: handle } = socket as unknown as { readonly _handle: { getpeername(out: object): number } };
  return handle.getpeername({}) !== 0;
}

test("clients that reset their connections before they were looked at are told apart by nobody, and are all gone", async () => {
  const sockets: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => void sockets.push(socket.on("error", () => {})));
  await using listening = await TestServer.listen(server);
  using one = new RawClient(listening.port);
  using other = new RawClient(listening.port);
  await until(() => sockets.length === 2);
  one.socket.resetAndDestroy();
  other.socket.resetAndDestroy();
  await until(() => sockets.every(isReset));
  const tls = tlsServer();
  const ends: Handshake["ok"][] = [];
  for (const socket of sockets) tls.accept(socket, "", ({ ok }) => void ends.push(ok));
  await until(() => ends.length === 2);
  expect(ends).toEqual([false, false]);
});
