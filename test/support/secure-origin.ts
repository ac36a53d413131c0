import http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";

import type { TestCertificate } from "./certificates.ts";

/** What a {@link startSecureOrigin} saw of a request; its answer's JSON body. */
export interface Seen {
  /** "1.1" or "2.0". */
  readonly httpVersion: string;
  readonly host: string;
  /** The common name of the certificate that the client showed. */
  readonly client: string;
  /** The server name that the client asked for. */
  readonly sni: string;
}

/** An upstream that speaks HTTP/2 and HTTP/1.1 by ALPN, and demands a certificate that `ca` signed. */
export async function startSecureOrigin({ cert, key }: TestCertificate, ca: string) {
  const sockets = new Set<Socket>();
  const server = http2.createSecureServer({ cert, key, ca, requestCert: true, allowHTTP1: true });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("request", (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => {
    const socket = (request.stream?.session?.socket ?? request.socket) as TLSSocket;
    const host = request.headers[":authority"] ?? request.headers.host ?? "";
    const client = String(socket.getPeerCertificate().subject.CN);
    const sni = String((socket as TLSSocket & { servername?: string | false }).servername);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ httpVersion: request.httpVersion, host, client, sni } satisfies Seen));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
