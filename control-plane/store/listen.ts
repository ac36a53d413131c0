import { setTimeout as sleep } from "node:timers/promises";

import pg from "pg";

import { answered } from "./answered.ts";
import { messageOf } from "./errors.ts";

const RECONNECT_DELAY_MS_MIN = 100;
const RECONNECT_DELAY_MS_MAX = 5_000;

/** How often to ask even without a notification: finds a connection that died in silence, and whatever was missed. */
const CHECK_INTERVAL_MS = 5_000;
/** So long it is waited for the end of a connection that nobody needs any more. */
const END_MS_MAX = 2_000;

interface ListenOptions {
  readonly settings: pg.ClientConfig;
  readonly channel: string;
  /** Names the database in warnings. */
  readonly where: string;
  readonly warn: (message: string) => void;
  /** Called with the payloads of notifications after each of them, and with none after each new connection and each interval, never twice at once; fails when the database does. */
  readonly onHint: (payloads: ReadonlySet<string>) => Promise<void>;
}

/**
 * Keeps a connection that listens for notifications, making a new one whenever it breaks. A notification is only a hint: what was
 * missed while there was no connection is found because `onHint` is called after each connect.
 * @returns how to stop; resolves when the connection is closed
 */
export function listen(options: ListenOptions): () => Promise<void> {
  const stop = new AbortController();
  const running = keepListening(options, stop.signal);
  return async () => {
    stop.abort();
    await running;
  };
}

async function keepListening(options: ListenOptions, signal: AbortSignal): Promise<void> {
  let delayMs = RECONNECT_DELAY_MS_MIN;
  while (!signal.aborted) {
    try {
      await listenOnce(options, signal, () => {
        delayMs = RECONNECT_DELAY_MS_MIN;
      });
    } catch (error) {
      if (signal.aborted) return;
      options.warn(`${options.where}: following other replicas: ${messageOf(error)}; next attempt in ${delayMs} ms`);
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
      delayMs = Math.min(delayMs * 2, RECONNECT_DELAY_MS_MAX);
    }
  }
}

/** Returns when it is told to stop, and throws when the connection breaks. */
async function listenOnce(options: ListenOptions, signal: AbortSignal, onConnected: () => void): Promise<void> {
  const client = new pg.Client(options.settings);
  let wake = () => {};
  let broken: Error | undefined;
  let payloads = new Set<string>();
  /** Anything may have happened: before the connection was made, whatever is heard of already, and in a long silence. */
  let missed = true;
  let hinted = true;
  client.on("notification", ({ payload = "" }) => {
    payloads.add(payload);
    hinted = true;
    wake();
  });
  client.on("error", (error) => {
    broken = error;
    wake();
  });
  client.on("end", () => {
    broken ??= new Error("the connection was closed");
    wake();
  });
  const onAbort = () => wake();
  signal.addEventListener("abort", onAbort);
  try {
    await client.connect();
    await answered(client.query(`listen ${client.escapeIdentifier(options.channel)}`));
    onConnected();
    while (!signal.aborted) {
      if (broken !== undefined) throw broken;
      if (hinted) {
        const heard = missed ? new Set<string>() : payloads;
        [hinted, missed, payloads] = [false, false, new Set()];
        await options.onHint(heard);
        continue;
      }
      const timedOut = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(true), CHECK_INTERVAL_MS);
        wake = () => {
          clearTimeout(timer);
          resolve(false);
        };
      });
      if (timedOut) {
        await answered(client.query("select 1"));
        [hinted, missed] = [true, true];
      }
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    const ended = client.end().catch(() => undefined);
    await Promise.race([ended, sleep(END_MS_MAX, undefined, { ref: false })]);
  }
}
