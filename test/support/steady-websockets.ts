import { once } from "node:events";
import http from "node:http";
import { constants } from "node:http2";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

import { Http2Client } from "./http2-client.ts";
import { SteadyClients } from "./steady-clients.ts";

/** Messages of one WebSocket before it is closed and another one is opened. */
const MESSAGES = 20;
const CLOSE = Buffer.from([0x88, 0x80, 0, 0, 0, 0]);

/** Opens a tunnel for WebSocket frames, with what of them has come already; "refused": the server has not looked at it (RFC 9113, 8.7). */
interface Opener {
  open(path: string): Promise<Duplex | "refused">;
  close(): Promise<void>;
}

/** Tunnels over HTTP/1.1, each on a connection of its own. */
const overHttp1 = (port: number, host: string): Opener => ({
  open: (path) =>
    new Promise((resolve, reject) => {
      const headers = {
        ...{ host, connection: "Upgrade", upgrade: "websocket" },
        ...{ "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" },
      };
      http
        .get({ host: "127.0.0.1", port, path, headers, agent: false })
        .on("upgrade", (_, socket, ahead) => {
          if (ahead.length > 0) socket.unshift(ahead);
          resolve(socket);
        })
        .on("response", ({ statusCode }) => reject(new Error(`no upgrade but ${statusCode}`)))
        .on("error", reject);
    }),
  close: async () => {},
});

/** Tunnels over HTTP/2 (RFC 8441), on one connection until the server says that it goes away. */
function overHttp2(port: number, host: string, ca: string): Opener {
  let client: Http2Client | undefined;
  return {
    async open(path) {
      // A connection may be told to go away before it was of any use.
      while (client === undefined || client.session.closed || client.session.destroyed) {
        client = new Http2Client(port, { ca, servername: host }, "https");
        await Promise.race([once(client.session, "remoteSettings"), once(client.session, "close")]);
      }
      const stream = client.session.request(
        {
          ...{ ":method": "CONNECT", ":protocol": "websocket", ":path": path, ":authority": host },
          "sec-websocket-version": "13",
        },
        { endStream: false },
      );
      return await new Promise((resolve, reject) => {
        stream
          .on("error", () => {})
          .once("response", ({ ":status": status }) =>
            status === 200 ? resolve(stream) : reject(new Error(`no tunnel but ${status}`)),
          )
          .once("close", () => {
            if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) resolve("refused");
            else reject(new Error(`no tunnel but: 0 , reset ${stream.rstCode}`));
          });
      });
    },
    async close() {
      await client?.[Symbol.asyncDispose]();
    },
  };
}

/** One WebSocket from its first message to the end of its tunnel. */
class Talk {
  readonly #tunnel: Duplex;
  #got: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake = () => {};

  constructor(tunnel: Duplex) {
    this.#tunnel = tunnel
      .on("data", (piece: Buffer) => {
        this.#got = Buffer.concat([this.#got, piece]);
        this.#wake();
      })
      .on("error", () => {})
      .on("end", () => this.#end())
      .on("close", () => this.#end());
  }

  /** Sends a text of less than 126 bytes, and gives the text that comes back; undefined: the tunnel ended. */
  async echo(text: string): Promise<string | undefined> {
    // A mask of zeros leaves the payload as it is.
    this.#tunnel.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]));
    const length = 2 + text.length;
    await this.#until(() => this.#got.length >= length);
    if (this.#got.length < length) return undefined;
    const frame = this.#got.subarray(0, length);
    this.#got = this.#got.subarray(length);
    return frame.subarray(2).toString();
  }

  /** The close handshake. False: the tunnel ended without it. */
  async close(): Promise<boolean> {
    this.#tunnel.write(CLOSE);
    await this.#until(() => this.#got.length >= 2);
    const closed = this.#got[0] === 0x88;
    this.#tunnel.end();
    await this.#until(() => false);
    return closed;
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

/**
 * So many clients each open a WebSocket to the echoing upstream of this host, have messages echoed, close it and open the next one: over HTTP/1.1,
 * or with `ca` over HTTP/2 and TLS. Each message counts as a request.
 */
export function startSteadyWebSockets(
  { port, host, ca }: { readonly port: number; readonly host: string; readonly ca?: string },
  clients: number,
  { pauseMs = 0 } = {},
): SteadyClients {
  const load = new SteadyClients();
  const talk = async (opener: Opener, name: string) => {
    const tunnel = await opener.open(`/live/${name}`);
    if (tunnel === "refused") return void load.refused++;
    const talking = new Talk(tunnel);
    for (let n = 0; n < MESSAGES && !load.stopped; n++) {
      const text = `${name}-${n}`;
      const back = await talking.echo(text);
      if (back !== text) {
        tunnel.destroy();
        throw new Error(back === undefined ? "socket hang up" : `got ${JSON.stringify(back)} for ${text}`);
      }
      load.answered++;
      if (pauseMs > 0) await sleep(pauseMs);
    }
    if (!(await talking.close())) throw new Error("socket hang up at its close");
  };
  const client = async (which: number) => {
    const opener = ca === undefined ? overHttp1(port, host) : overHttp2(port, host, ca);
    for (let n = 0; !load.stopped; n++) {
      try {
        await talk(opener, `${which}-${n}`);
      } catch (error) {
        load.fail(`WebSocket ${which}-${n}: ${String(error)}`);
        if (pauseMs > 0) await sleep(pauseMs);
      }
    }
    await opener.close();
  };
  return load.run(clients, client);
}
