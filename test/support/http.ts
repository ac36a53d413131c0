import http from "node:http";
import net from "node:net";

export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: string;
}

export interface Ask {
  method?: string;
  path?: string;
  headers?: Record<string, string | string[]>;
  body?: string | Buffer;
  agent?: http.Agent;
}

/** One request to a port of 127.0.0.1, by Node's own client. */
export function ask(
  port: number,
  { method = "GET", path = "/", headers = {}, body, agent }: Ask = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: "127.0.0.1", port, method, path, headers, agent }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString("utf8"),
        }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** Sends bytes as they are and gives what comes back until the peer closes, or `until` says it is enough. */
export function askRaw(
  port: number,
  bytes: string | Buffer,
  until: (got: string) => boolean = () => false,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let got = "";
    const socket = net.connect(port, "127.0.0.1", () => socket.write(bytes));
    socket.setTimeout(60_000, () => {
      socket.destroy();
      reject(new Error(`no end of the answer; so far: ${JSON.stringify(got)}`));
    });
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      got += text;
      if (until(got)) socket.destroy();
    });
    // To whoever still writes, a reset that comes behind the peer's FIN is EPIPE.
    const isReset = ({ code }: NodeJS.ErrnoException) => code === "ECONNRESET" || code === "EPIPE";
    socket.on("error", (error) => (isReset(error) ? undefined : reject(error)));
    socket.on("close", () => resolve(got));
  });
}

/** Echoes one text through a WebSocket; gives what came back. */
export function webSocketEcho(url: string, text: string, headers: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    // Node's WebSocket can't set Host, so the handshake is written by hand.
    const { hostname, port, pathname } = new URL(url);
    const socket = net.connect(Number(port), hostname);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(
      `GET ${pathname} HTTP/1.1\r\n${lines.join("")}connection: Upgrade\r\nupgrade: websocket\r\n` +
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    socket.setTimeout(60_000, () => socket.destroy(new Error("no answer to the handshake")));
    socket.on("error", reject);
    let got = Buffer.alloc(0);
    let open = false;
    socket.on("data", (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      const end = got.indexOf("\r\n\r\n");
      if (!open && end >= 0) {
        const head = got.subarray(0, end).toString("latin1");
        if (!head.startsWith("HTTP/1.1 101 ")) {
          socket.destroy();
          reject(new Error(head.split("\r\n", 1)[0]));
          return;
        }
        open = true;
        got = got.subarray(end + 4);
        const payload = Buffer.from(text);
        // A mask of zeros leaves the payload as it is.
        socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
      }
      if (open && got.length >= 2 && got.length >= 2 + ((got[1] as number) & 127)) {
        resolve(got.subarray(2, 2 + ((got[1] as number) & 127)).toString());
        socket.destroy();
      }
    });
    socket.on("close", () => reject(new Error("closed before the echo")));
  });
}
