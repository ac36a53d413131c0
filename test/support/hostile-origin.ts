import net from "node:net";

/** An origin that misbehaves as the first segment of the path says (see `behaviours`). */
export interface HostileOrigin {
  readonly port: number;
  /** Connections that are open and wait for the peer to take more bytes. */
  blocked(): number;
  /** What each open connection asked for last. */
  open(): readonly string[];
  close(): Promise<void>;
}

const OK = "HTTP/1.1 200 OK\r\n";
/** Length of the body of /big, which nobody should hold in memory. */
export const BIG_BYTES = 64 * 1024 * 1024;

/** What is sent for a request to /NAME, as it is; `after` ends the connection then. */
const behaviours: Record<string, { send: string; after?: "end" | "reset" }> = {
  reset: { send: "", after: "reset" },
  end: { send: "", after: "end" },
  "half-head": { send: `${OK}Content-Le`, after: "end" },
  "early-end": { send: `${OK}Content-Length: 100\r\n\r\nabc`, after: "end" },
  "early-reset": { send: `${OK}Content-Length: 100\r\n\r\nabc`, after: "reset" },
  "early-chunked": { send: `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nab`, after: "end" },
  "no-last-chunk": { send: `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n`, after: "end" },
  garbage: { send: "\0\x01garbage\r\n\r\n" },
  http2: { send: "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n" },
  "status-99": { send: "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n" },
  "both-framings": { send: `${OK}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n` },
  "two-lengths": { send: `${OK}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd` },
  "bad-length": { send: `${OK}Content-Length: +3\r\n\r\nabc` },
  "bad-coding": { send: `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n` },
  "bad-chunk": { send: `${OK}Transfer-Encoding: chunked\r\n\r\nzz\r\n` },
  "split-by-cr": { send: `${OK}X-A: 1\rX-B: 2\r\nContent-Length: 0\r\n\r\n` },
  "split-by-lf": { send: `${OK}X-A: 1\nX-B: 2\r\nContent-Length: 0\r\n\r\n` },
  nul: { send: `${OK}X-A: \0\r\nContent-Length: 0\r\n\r\n` },
  "huge-head": { send: `${OK}X-A: ${"a".repeat(200_000)}\r\nContent-Length: 0\r\n\r\n` },
  "many-fields": { send: `${OK}${"X-A: 1\r\n".repeat(5_000)}Content-Length: 0\r\n\r\n` },
  "endless-head": { send: `${OK}X-A: ${"a".repeat(1_000_000)}` },
  "flood-of-1xx": { send: `${"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000)}${OK}Content-Length: 0\r\n\r\n` },
  "unasked-101": { send: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nabc" },
  "two-responses": { send: `${OK}Content-Length: 3\r\n\r\none${OK}Content-Length: 3\r\n\r\ntwo` },
  leftover: { send: `${OK}Content-Length: 3\r\n\r\noneXXX` },
  "body-of-204": { send: `HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n${OK}` },
  stall: { send: `${OK}Content-Length: 100\r\n\r\nabc` },
  silence: { send: "" },
};

export const hostileNames: readonly string[] = Object.keys(behaviours);

export async function startHostileOrigin(): Promise<HostileOrigin> {
  const sockets = new Map<net.Socket, string>();
  const server = net.createServer((socket) => {
    sockets.set(socket, "");
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    let head = "";
    socket.on("data", (bytes: Buffer) => {
      if (head.includes("\r\n\r\n")) return;
      head += bytes.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      const name = /^\S+ \/([^/ ?]*)/.exec(head)?.[1] ?? "";
      sockets.set(socket, name);
      // What waits for an answer isn't answered twice; what was answered may ask again.
      if (!["stall", "silence", "big"].includes(name)) head = "";
      if (name === "big") return sendBig(socket);
      const { send, after } = behaviours[name] ?? { send: `${OK}Content-Length: 2\r\n\r\nok` };
      socket.write(send, "latin1", () => {
        if (after === "end") socket.end();
        if (after === "reset") socket.resetAndDestroy();
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    blocked: () => [...sockets.keys()].filter((socket) => socket.writableNeedDrain).length,
    open: () => [...sockets.values()],
    async close() {
      for (const socket of sockets.keys()) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function sendBig(socket: net.Socket): void {
  const piece = Buffer.alloc(64 * 1024, "b");
  socket.write(`${OK}Content-Length: ${BIG_BYTES}\r\n\r\n`);
  let left = BIG_BYTES / piece.length;
  const more = () => {
    while (left > 0 && !socket.destroyed) {
      left--;
      if (!socket.write(piece)) {
        socket.once("drain", more);
        return;
      }
    }
  };
  more();
}
