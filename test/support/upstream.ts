import { createHash } from "node:crypto";
import http from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** What an upstream saw of a request; its answer's JSON body. */
export interface Echo {
  upstream: string;
  method: string;
  path: string;
  /** As received, repeated fields joined by Node. */
  headers: Record<string, string>;
  bodyLength: number;
  bodySha256: string;
}

export interface Upstream {
  readonly name: string;
  readonly port: number;
  /** Requests answered so far. */
  requests: number;
  close(): Promise<void>;
}

/**
 * A back end that keeps its connections open, whatever stands still for how long, answers each request with what it saw, echoes WebSocket messages, and does what these request headers tell it:
 * `x-test-status: 503`, `x-test-delay-ms: 200`, `x-test-length: 100000` (a body of that size instead of the echo), `x-test-abort: 1`.
 */
export async function startUpstream(name: string, port = 0, address = "127.0.0.1"): Promise<Upstream> {
  const sockets = new Set<Socket>();
  const server = http.createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const hash = createHash("sha256");
    let bodyLength = 0;
    request.on("data", (chunk: Buffer) => {
      hash.update(chunk);
      bodyLength += chunk.length;
    });
    request.on("error", () => response.destroy());
    request.on("end", () => {
      upstream.requests++;
      const told = (header: string) => request.headers[`x-test-${header}`] as string | undefined;
      const answer = () => {
        if (told("abort") !== undefined) {
          request.socket.destroy();
          return;
        }
        response.statusCode = Number(told("status") ?? 200);
        response.setHeader("x-upstream", name);
        const length = told("length");
        if (length !== undefined) {
          response.setHeader("content-type", "application/octet-stream");
          response.end(Buffer.alloc(Number(length), "a"));
          return;
        }
        response.setHeader("content-type", "application/json");
        const echo: Echo = {
          upstream: name,
          method: request.method ?? "",
          path: request.url ?? "",
          headers: Object.fromEntries(Object.entries(request.headers).map(([key, value]) => [key, String(value)])),
          bodyLength,
          bodySha256: hash.digest("hex"),
        };
        response.end(JSON.stringify(echo));
      };
      const delayMs = Number(told("delay-ms") ?? 0);
      if (delayMs > 0) setTimeout(answer, delayMs).unref();
      else answer();
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("upgrade", (request, socket: Socket, ahead: Buffer) => {
    // What came with the request.
    if (ahead.length > 0) socket.unshift(ahead);
    const key = request.headers["sec-websocket-key"];
    // RFC 6455, 1.3.
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
    );
    upstream.requests++;
    let buffered: Buffer = Buffer.alloc(0);
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      for (;;) {
        const frame = takeFrame(buffered);
        if (frame === undefined) return;
        buffered = buffered.subarray(frame.size);
        if (frame.opcode === 8) {
          socket.end(Buffer.from([0x88, 0]));
          return;
        }
        const head =
          frame.payload.length < 126
            ? Buffer.from([0x80 | frame.opcode, frame.payload.length])
            : Buffer.from([0x80 | frame.opcode, 126, frame.payload.length >> 8, frame.payload.length & 255]);
        socket.write(Buffer.concat([head, frame.payload]));
      }
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, resolve);
  });
  const upstream: Upstream = {
    name,
    port: (server.address() as AddressInfo).port,
    requests: 0,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return upstream;
}

/** The first whole frame of a client (RFC 6455, 5.2; always masked, here at most 64 KiB). */
function takeFrame(data: Buffer): { opcode: number; payload: Buffer; size: number } | undefined {
  if (data.length < 6) return undefined;
  let length = (data[1] as number) & 127;
  let at = 2;
  if (length === 126) {
    length = data.readUInt16BE(2);
    at = 4;
  }
  if (data.length < at + 4 + length) return undefined;
  const mask = data.subarray(at, at + 4);
  const payload = Buffer.from(data.subarray(at + 4, at + 4 + length));
  for (let i = 0; i < payload.length; i++) payload[i] = (payload[i] as number) ^ (mask[i & 3] as number);
  return { opcode: (data[0] as number) & 15, payload, size: at + 4 + length };
}
