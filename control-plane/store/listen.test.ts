/** Following the notifications of a real PostgreSQL. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

import { Client } from "pg";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { waitFor } from "../../test/support/wait.ts";
import { listen } from "./listen.ts";

/** Connections that are made anew while notifications come one upon the other. */
const CONNECTIONS = 100;

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

test("each connection begins with the word that anything may have been missed, whatever is heard before", async () => {
  const url = await postgres.createDatabase();
  const speaker = new Client({ connectionString: url });
  await speaker.connect();
  let isOver = false;
  const speaking = (async () => {
    while (!isOver) await speaker.query("notify channel, 'something'");
  })();
  const heard: number[] = [];
  try {
    for (let at = 0; at < CONNECTIONS; at++) {
      const hints: number[] = [];
      const stop = listen({
        ...{ settings: { connectionString: url }, channel: "channel", where: "the test's", warn: () => {} },
        onHint: async (payloads) => void hints.push(payloads.size),
      });
      await waitFor("hints", () => hints.length >= 2);
      await stop();
      heard.push(...hints.slice(0, 1));
    }
  } finally {
    isOver = true;
    await speaking;
    await speaker.end();
  }
  expect(heard).toEqual(Array.from({ length: CONNECTIONS }, () => 0));
});

/** A way to a database that can be made to hang: the connections that it has by then stay open, and nothing more goes through them. */
async function relayTo(url: string) {
  const { hostname, port } = new URL(url);
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((socket) => {
    const onward = connect(Number(port), hostname);
    pairs.add([socket, onward]);
    for (const each of [socket, onward]) each.on("error", () => {});
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const own = new URL(url);
  own.port = String((server.address() as AddressInfo).port);
  return {
    url: own.href,
    hang() {
      for (const [socket, onward] of pairs) {
        socket.unpipe(onward).resume();
        onward.unpipe(socket).resume();
      }
    },
    close() {
      for (const each of [...pairs].flat()) each.destroy();
      server.close();
    },
  };
}

test("a database that hangs is given up after some seconds, and followed over a new connection", async () => {
  const url = await postgres.createDatabase();
  const relay = await relayTo(url);
  const warnings: string[] = [];
  let hints = 0;
  const stop = listen({
    ...{ settings: { connectionString: relay.url }, channel: "channel", where: "the test's" },
    warn: (message) => warnings.push(message),
    onHint: async () => void hints++,
  });
  try {
    await waitFor("the connection", () => hints === 1);
    relay.hang();
    // It asks after five seconds of silence, and is patient for ten: the test isn't.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const speeding = setInterval(() => vi.advanceTimersByTime(1_000), 5);
    try {
      await waitFor("the warning", () => warnings.length > 0);
    } finally {
      clearInterval(speeding);
      vi.useRealTimers();
    }
    expect(warnings[0]).toContain("no answer within 10 s");
    await waitFor("the next connection", () => hints >= 2);
  } finally {
    await stop();
    relay.close();
  }
});
