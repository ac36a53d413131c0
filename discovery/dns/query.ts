import { randomInt } from "node:crypto";
import dgram from "node:dgram";
import net from "node:net";

import { DiscoveryError } from "../source.ts";
import type { ServerOrder } from "./server-order.ts";
import { decodeAnswer, type DnsAnswer, encodeQuery, type QueryType, questionText } from "./message.ts";

/** Of one attempt. */
const TIMEOUT_MS = 2_000;
/** A datagram may be lost: each server is asked so often, one after the other. */
const ROUNDS = 2;
const PORT_DEFAULT = 53;

/** A name server. */
export interface DnsServer {
  readonly host: string;
  readonly port: number;
}

/** "10.0.0.1", "10.0.0.1:5353", "::1" or "[::1]:5353". */
export function parseServer(text: string): DnsServer {
  const [, host, port] = /^(?:\[([^\]]+)\]:(\d+))$/.exec(text) ?? /^([^:]+):(\d+)$/.exec(text) ?? [];
  if (host !== undefined) return { host, port: Number(port) };
  return { host: text.replace(/^\[|\]$/g, ""), port: PORT_DEFAULT };
}

/**
 * Asks each server in turn, over UDP, and over TCP where the answer didn't fit, until one answers. "No such name" is an answer.
 * @param order remembers which of them gave none
 * @param isAnswer what of response codes counts as an answer; others leave it to the next server
 * @throws DiscoveryError "unreachable", "bad_answer", "permission_denied" (REFUSED)
 */
export async function query(
  servers: readonly DnsServer[],
  order: ServerOrder,
  name: string,
  type: QueryType,
  signal: AbortSignal,
  isAnswer: (code: number) => boolean = (code) => code === NOERROR || code === NXDOMAIN,
): Promise<DnsAnswer> {
  let last: unknown;
  const inOrder = order.of(servers);
  for (const server of Array.from({ length: ROUNDS }, () => inOrder).flat()) {
    signal.throwIfAborted();
    try {
      const answer = await ask(server, name, type, signal);
      order.note(server, true);
      if (isAnswer(answer.code)) return answer;
      const kind = answer.code === REFUSED ? "permission_denied" : "unreachable";
      last = new DiscoveryError(
        kind,
        `DNS ${server.host}:${server.port}: ${name}: ${codes[answer.code] ?? answer.code}`,
      );
    } catch (error) {
      // Who asked may have left before the server's time was over.
      if (!signal.aborted) order.note(server, false);
      last = error;
    }
  }
  if (last instanceof DiscoveryError) throw last;
  throw new DiscoveryError(
    "unreachable",
    `DNS: ${name}: ${last instanceof Error ? last.message : "there is no server"}`,
  );
}

// RFC 1035 4.1.1
const NOERROR = 0;
const FORMERR = 1;
const NXDOMAIN = 3;
const NOTIMP = 4;
const REFUSED = 5;
const codes: Readonly<Record<number, string>> = {
  [FORMERR]: "FORMERR",
  2: "SERVFAIL",
  [NOTIMP]: "NOTIMP",
  [REFUSED]: "REFUSED",
};

/** A server that doesn't know EDNS says so, or that it understands nothing, and is asked without (RFC 6891, 6.2.2). */
async function ask(server: DnsServer, name: string, type: QueryType, signal: AbortSignal): Promise<DnsAnswer> {
  const answer = await askOnce(server, name, type, signal, true);
  const isOld = answer.code === FORMERR || answer.code === NOTIMP;
  return isOld ? await askOnce(server, name, type, signal, false) : answer;
}

async function askOnce(
  server: DnsServer,
  name: string,
  type: QueryType,
  signal: AbortSignal,
  withEdns: boolean,
): Promise<DnsAnswer> {
  // A number that nobody can guess, and a new port each time (dgram binds one): RFC 5452.
  const id = randomInt(0x1_0000);
  const message = encodeQuery(id, name, type, withEdns);
  const matches = (answer: DnsAnswer) =>
    answer.id === id && (answer.question === "" || answer.question === questionText(name, type));
  const answer = await askUdp(server, message, matches, signal);
  return answer.isTruncated ? await askTcp(server, message, matches, signal) : answer;
}

type Matches = (answer: DnsAnswer) => boolean;

async function askUdp(server: DnsServer, message: Buffer, matches: Matches, signal: AbortSignal): Promise<DnsAnswer> {
  const socket = dgram.createSocket(net.isIPv6(server.host) ? "udp6" : "udp4");
  try {
    return await within(server, signal, (resolve, reject) => {
      socket.on("error", reject);
      // Connected, so that the system takes only what this server sends. Without a callback: Node calls it for what failed, too, such as a
      // network that can't be reached, and then there is no "error".
      socket.on("connect", () => socket.send(message)).connect(server.port, server.host);
      socket.on("message", (bytes) => {
        // Whatever is not an answer to this question may be somebody's guess: the real one may still come.
        try {
          const answer = decodeAnswer(bytes);
          if (matches(answer)) resolve(answer);
        } catch {
          return;
        }
      });
    });
  } finally {
    socket.close();
  }
}

async function askTcp(server: DnsServer, message: Buffer, matches: Matches, signal: AbortSignal): Promise<DnsAnswer> {
  const socket = net.connect(server.port, server.host);
  try {
    return await within(server, signal, (resolve, reject) => {
      let received = Buffer.alloc(0);
      socket.on("error", reject);
      socket.on("close", () => reject(new Error("the connection was closed")));
      // Each message goes behind its length (RFC 1035 4.2.2).
      const length = Buffer.alloc(2);
      length.writeUInt16BE(message.length);
      socket.write(Buffer.concat([length, message]));
      socket.on("data", (chunk: Buffer) => {
        received = Buffer.concat([received, chunk]);
        if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
        try {
          const answer = decodeAnswer(received.subarray(2, 2 + received.readUInt16BE(0)));
          if (matches(answer)) resolve(answer);
          else reject(new Error("an answer to another question"));
        } catch (error) {
          reject(error);
        }
      });
    });
  } finally {
    socket.destroy();
  }
}

type Work = (resolve: (answer: DnsAnswer) => void, reject: (error: unknown) => void) => void;

async function within({ host, port }: DnsServer, signal: AbortSignal, work: Work): Promise<DnsAnswer> {
  const stop = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const fail = (words: string) => new DiscoveryError("unreachable", `DNS ${host}:${port}: ${words}`);
  return await new Promise((resolve, reject) => {
    stop.addEventListener("abort", () => reject(fail(`no answer within ${TIMEOUT_MS / 1000} s`)));
    work(resolve, (error) =>
      reject(error instanceof DiscoveryError ? error : fail(error instanceof Error ? error.message : String(error))),
    );
  });
}
