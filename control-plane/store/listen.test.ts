/** Following the notifications of a real PostgreSQL. */
import { Client } from "pg";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { relayTo } from "../../test/support/hanging-relay.ts";
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
