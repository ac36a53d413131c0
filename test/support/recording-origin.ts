import { createHash } from "node:crypto";
import http from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** A request as it reached the origin, complete. */
export interface Seen {
  method: string;
  path: string;
  /** "name: value" of each field line in order of arrival, names lowered. */
  fields: string[];
  bodyLength: number;
  bodySha256: string;
  trailers: number;
  /** When it was complete, by performance.now(). */
  atMs: number;
}

/** A back end that keeps what it saw, by the mark (`t0000012t`) that a request carries in path, host or a field. */
export interface RecordingOrigin {
  readonly port: number;
  /** Complete requests that carry the mark, in order of arrival. */
  seen(mark: string): readonly Seen[];
  /** Complete requests without any mark: their reader made something up. */
  readonly unmarked: readonly Seen[];
  /** What Node's strict parser refused to read: a proxy must never send such a thing. */
  readonly malformed: readonly string[];
  close(): Promise<void>;
}

/** The mark of a probe, put wherever a request can carry it; all are of one length, so that they may stand in bodies. */
export const markOf = (id: number): string => `t${String(id).padStart(7, "0")}t`;

/**
 * Answers each request by `ORIGIN method path bodyLength` as text. `x-answer: 204` sets the status; an upgrade to websocket is accepted and
 * what then comes is echoed.
 */
export async function startRecordingOrigin(): Promise<RecordingOrigin> {
  const seen = new Map<string, Seen[]>();
  const unmarked: Seen[] = [];
  const malformed: string[] = [];
  const sockets = new Set<Socket>();
  const record = (request: http.IncomingMessage, bodyLength: number, bodySha256: string): Seen => {
    const fields: string[] = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      fields.push(`${request.rawHeaders[i]?.toLowerCase()}: ${request.rawHeaders[i + 1]}`);
    }
    const it: Seen = {
      method: request.method ?? "",
      path: request.url ?? "",
      fields,
      bodyLength,
      bodySha256,
      trailers: request.rawTrailers.length / 2,
      atMs: performance.now(),
    };
    const mark = /t\d+t/.exec([it.path, ...fields].join("\n"))?.[0];
    if (mark === undefined) unmarked.push(it);
    else if (seen.has(mark)) seen.get(mark)?.push(it);
    else seen.set(mark, [it]);
    return it;
  };
  const server = http.createServer({ keepAliveTimeout: 0, maxHeaderSize: 128 * 1024 }, (request, response) => {
    const hash = createHash("sha256");
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      length += chunk.length;
    });
    // A request that ends early is no request.
    request.on("error", () => response.destroy());
    request.on("end", () => {
      const { method, path } = record(request, length, hash.digest("hex").slice(0, 12));
      const status = Number(request.headers["x-answer"] ?? 200);
      response.writeHead(status >= 200 && status <= 599 ? status : 200, { "content-type": "text/plain" });
      response.end(`ORIGIN ${method} ${path} ${length}\n`);
    });
  });
  server.maxHeadersCount = 0;
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("clientError", (error: Error & { code?: string }, socket: Socket) => {
    if (error.code?.startsWith("HPE_") === true && error.code !== "HPE_INVALID_EOF_STATE") {
      malformed.push(`${error.code}: ${error.message}`);
    }
    socket.destroy();
  });
  server.on("upgrade", (request, socket: Socket) => {
    record(request, 0, "");
    socket.on("error", () => socket.destroy());
    socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    socket.pipe(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    seen: (mark) => seen.get(mark) ?? [],
    unmarked,
    malformed,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
