import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Requests of the demo are small; what is longer is not read. */
const BODY_BYTES_MAX = 64 * 1024;

/** A running echo instance. */
export interface Echo {
  readonly port: number;
  close(): void;
}

/**
 * Starts an HTTP server on 127.0.0.1 that answers each request with what it saw of it, as JSON. Takes another free port if `port` is
 * taken and `exact` is not set; undefined if it is.
 */
export async function startEcho(instance: string, port: number, exact: boolean): Promise<Echo | undefined> {
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
    });
    request.on("end", () => {
      const { method, url: path, headers } = request;
      const body = Buffer.concat(chunks).toString("utf8");
      const seen = { instance, method, path, headers, ...(body !== "" && { body }) };
      response.writeHead(200, { "content-type": "application/json" }).end(`${JSON.stringify(seen, null, 2)}\n`);
    });
    // The client went away.
    request.on("error", () => response.destroy());
  });
  if (!(await listen(server, port)) && (exact || !(await listen(server, 0)))) return undefined;
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function listen(server: Server, port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const failed = () => resolve(false);
  server.once("error", failed);
  server.listen(port, "127.0.0.1", () => {
    server.off("error", failed);
    resolve(true);
  });
  return promise;
}
