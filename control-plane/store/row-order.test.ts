/** What replicas write to the same rows of a real PostgreSQL at the same time: each waits for the other, and none in vain. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { openStore } from "./open.ts";

/** Often enough for two of them to meet in the middle. */
const ROUNDS = 100;

let postgres: TestPostgres;
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

afterAll(async () => {
  await postgres?.stop();
});

async function open(url: string) {
  const store = await openStore({ dataDir: "", url }, { warn: () => {} });
  cleanups.push(() => store.close());
  return store;
}

/** Does it again and again. */
async function repeat(work: () => Promise<unknown>): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) await work();
}

const keys = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => `lease ${from + at + 1_000}`);
const row = (key: string) => ({ key, ttlMs: 60_000, bytes: Buffer.from("x") });

test("a replica that starts, and heartbeats and reports that come to several others", async () => {
  const url = await postgres.createDatabase();
  const [one, two, three] = [await open(url), await open(url), await open(url)];
  await one.leases.write(keys(0, 600).map(row), [], []);
  await Promise.all([
    repeat(() => one.leases.write(keys(100, 150).map(row), keys(0, 100), [])),
    repeat(() => two.leases.write(keys(50, 100).map(row), keys(100, 200), [])),
    repeat(() => three.leases.renewAll()),
  ]);
  expect((await one.leases.index()).size).toBe(600);
});

test("registries that are claimed while what is found there is written", async () => {
  const { shared } = await open(await postgres.createDatabase());
  const wanted = Array.from({ length: 50 }, (_, at) => ({ registry: `g/r${at}`, info: "" }));
  await shared.claim(wanted, "one", 60_000);
  const put = (at: number) => ({ registry: `g/r${at}`, service: "orders", bytes: Buffer.from("x") });
  await Promise.all([
    // As registries come and go, so that they lie in any order.
    repeat(
      async () =>
        await shared.claim(
          wanted.filter(() => Math.random() < 0.5),
          "one",
          60_000,
        ),
    ),
    repeat(() => shared.write("one", [put(1), put(7)], [])),
    repeat(() => shared.write("one", [put(3)], [])),
  ]);
  expect((await shared.index()).length).toBe(3);
});
