import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";

import { onTestFinished } from "vitest";

import { TestAuthority } from "./certificates.ts";

/** Both ends of a TLS connection within the test, which closes them. */
export interface TlsPair {
  /** The accepted end, as the proxy has it. */
  readonly socket: TLSSocket;
  readonly client: TLSSocket;
}

/** Opens a TLS connection. Both ends may be half closed, and the handshake is done. */
export async function tlsPair(): Promise<TlsPair> {
  using authority = new TestAuthority();
  const { cert, key } = authority.issue({ name: "pair.test", altNames: ["DNS:pair.test"] });
  const server = createServer({ cert, key, allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: "127.0.0.1", ca: authority.cert, servername: "pair.test" });
  const connected = once(client, "secureConnect");
  const [socket] = (await once(server, "secureConnection")) as [TLSSocket];
  await connected;
  onTestFinished(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  return { socket, client };
}
