import http2 from "node:http2";
import type { Readable } from "node:stream";
import tls from "node:tls";

import { Agent } from "undici";

import { DiscoveryError } from "../source.ts";

import type { ClusterAccess, Credential } from "./access.ts";

/** The head of an answer, and its body as it comes. */
export interface Reply {
  readonly status: number;
  readonly body: Readable;
}

/** Connections to one API server with one client certificate. */
export interface Transport {
  /** False once it takes no new requests; those under way may go on. */
  readonly usable: boolean;
  /** @throws what the network says; the caller makes a DiscoveryError of it. */
  get(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Reply>;
  /** Takes no new requests, and closes with the last of those under way. */
  retire(): void;
  /** Closes at once. */
  close(): void;
}

/** How patient a transport is. */
export interface TransportTimes {
  readonly connectTimeoutMs: number;
  /** A PING goes out this often on HTTP/2, because a peer that stopped looks like one that has no news. */
  readonly pingIntervalMs: number;
  /** The connection is given up when its answer takes longer. */
  readonly pingTimeoutMs: number;
}

/** A server that hangs is noticed within 8 s: operators are to see it within 10 s. */
export const transportTimes: TransportTimes = { connectTimeoutMs: 5_000, pingIntervalMs: 4_000, pingTimeoutMs: 4_000 };

/** Bytes that the server may send ahead of our reading: a page of a list at a time, not 64 kB and a round trip. */
const WINDOW_BYTES = 1 << 20;
/** On HTTP/1.1 there is no PING: a watch shows that it lives by a bookmark a minute. */
const HTTP1_QUIET_MS = 150_000;

/** Connects over HTTP/2, or HTTP/1.1 where the server (or a proxy before it) speaks nothing newer. */
export async function connect(
  access: ClusterAccess,
  credential: Credential,
  times: TransportTimes,
): Promise<Transport> {
  if (access.server.protocol === "http:") return http1(access, credential, times);
  const socket = await handshake(access, credential, times);
  if (socket.alpnProtocol === "h2") return http2Transport(access.server, socket, times);
  socket.destroy();
  return http1(access, credential, times);
}

function tlsOptions(access: ClusterAccess, { certificate, key }: Credential) {
  const { serverName, insecureSkipTlsVerify } = access;
  const ca = caOf(access);
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(certificate === undefined ? {} : { cert: certificate, key }),
    rejectUnauthorized: !insecureSkipTlsVerify,
  };
}

function caOf({ ca, readCa }: ClusterAccess): string | undefined {
  try {
    return readCa?.() ?? ca;
  } catch {
    return ca;
  }
}

function handshake(access: ClusterAccess, credential: Credential, times: TransportTimes): Promise<tls.TLSSocket> {
  const { hostname, port } = access.server;
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      // URL keeps the brackets of an IPv6 address.
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port || 443),
      ALPNProtocols: ["h2", "http/1.1"],
      ...tlsOptions(access, credential),
    });
    const timer = setTimeout(
      () => settle(new DiscoveryError("unreachable", `no connection in ${times.connectTimeoutMs} ms`)),
      times.connectTimeoutMs,
    );
    const settle = (error?: Error) => {
      clearTimeout(timer);
      socket.off("error", settle);
      if (error === undefined) return resolve(socket);
      // What a destroyed socket says afterwards concerns nobody.
      socket.on("error", () => {}).destroy();
      reject(error);
    };
    socket.once("error", settle).once("secureConnect", () => settle());
  });
}

function http2Transport(server: URL, socket: tls.TLSSocket, times: TransportTimes): Transport {
  const session = http2.connect(server.origin, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
  });
  session.once("connect", () => {
    // Whoever wanted it may have closed it by now.
    if (!session.destroyed) session.setLocalWindowSize(4 * WINDOW_BYTES);
  });
  let usable = true;
  const ping = setInterval(() => {
    // It is destroyed before it tells so, for one by the timer below.
    if (session.destroyed) return;
    const late = setTimeout(() => {
      session.destroy(
        new DiscoveryError("unreachable", `no answer to an HTTP/2 PING within ${times.pingTimeoutMs} ms`),
      );
    }, times.pingTimeoutMs);
    const sent = session.ping(() => clearTimeout(late));
    if (!sent) clearTimeout(late);
  }, times.pingIntervalMs);
  // A GOAWAY lets what is under way end (Node closes the session then); new requests go elsewhere.
  session.once("goaway", () => (usable = false));
  // Its streams report the error themselves.
  session.on("error", () => (usable = false));
  session.once("close", () => {
    usable = false;
    clearInterval(ping);
  });
  return {
    get usable() {
      return usable;
    },
    get: (path, headers, signal) =>
      new Promise((resolve, reject) => {
        const stream = session.request({ ...headers, ":path": path, ":method": "GET" }, { endStream: true, signal });
        stream.once("error", reject);
        stream.once("close", () => reject(new DiscoveryError("unreachable", "the connection closed before an answer")));
        stream.once("response", (head) => resolve({ status: Number(head[":status"]), body: stream }));
      }),
    retire: () => {
      usable = false;
      session.close();
    },
    close: () => {
      usable = false;
      clearInterval(ping);
      session.destroy();
    },
  };
}

function http1(access: ClusterAccess, credential: Credential, times: TransportTimes): Transport {
  const agent = new Agent({
    allowH2: false,
    connect: { ...tlsOptions(access, credential), timeout: times.connectTimeoutMs },
    headersTimeout: 60_000,
    bodyTimeout: HTTP1_QUIET_MS,
    // A watch holds its connection; a scope has two of them, and lists come and go.
    connections: 64,
  });
  let usable = true;
  return {
    get usable() {
      return usable;
    },
    get: async (path, headers, signal) => {
      const { statusCode, body } = await agent.request({
        origin: access.server.origin,
        path,
        method: "GET",
        headers: { ...headers },
        signal,
      });
      return { status: statusCode, body };
    },
    retire: () => {
      usable = false;
      // Another one may have closed it meanwhile, which undici calls an error.
      agent.close().catch(() => {});
    },
    close: () => {
      usable = false;
      void agent.destroy();
    },
  };
}
