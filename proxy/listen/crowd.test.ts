import { expect, test } from "vitest";

import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { Http2Client } from "../../test/support/http2-client.ts";
import { answering, JsonListener } from "../../test/support/json-listener.ts";
import { ConnectionCounts, connectionCountsMemory } from "./connection-counts.ts";
import { Crowd, excessOf } from "./crowd.ts";

test.each([
  [64, 64, 1, 0],
  [40, 64, 2, 0],
  [41, 64, 2, 5],
  [64, 64, 2, 16],
  [8, 8, 4, 0],
  [600, 1_000, 2, 0],
  [700, 1_000, 2, 100],
  [0, 64, 2, 0],
])("a worker that has %i of %i connections, being one of %i, lets %i go", (own, all, workers, excess) => {
  expect(excessOf(own, all, workers)).toBe(excess);
});

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

test("connections leave a worker that has too many, after their answers, until it has its share", async () => {
  const memory = connectionCountsMemory(2);
  const [here, there] = [new ConnectionCounts(memory, 0), new ConnectionCounts(memory, 1)];
  const all = here.counter("all");
  const [own, other] = [here.counter("workers"), there.counter("workers")];
  const crowd = new Crowd(all, own);
  crowd.join();
  await using it = await JsonListener.start([answering("hello")], {}, { counts: here, crowd });
  const clients = Array.from({ length: 20 }, () => new RawClient(it.port));
  const ask = (client: RawClient) => {
    client.received = "";
    return client.send(GET).until((text) => text.endsWith("hello"));
  };
  for (const client of clients) expect(await ask(client)).not.toContain("connection: close");
  // Another worker comes, to which those who leave would go.
  other.take(Number.POSITIVE_INFINITY);
  await until(() => {
    for (const client of clients) if (!client.ended) void ask(client).catch(() => {});
    return all.own <= 16;
  });
  // Of 20 a share of 10 and 8 more would be no crowd; 5 went at once, and no others.
  expect(clients.filter((client) => client.ended).length).toBeLessThanOrEqual(10);
  crowd.part();
  expect([own.sum, crowd.sendsAway()]).toEqual([1, false]);
  for (const client of clients) client[Symbol.dispose]();
});

test("an HTTP/2 connection is told by GOAWAY, and its request is answered", async () => {
  const counts = new ConnectionCounts(connectionCountsMemory(1), 0);
  const [all, workers] = [counts.counter("all"), counts.counter("workers")];
  const crowd = new Crowd(all, workers);
  await using it = await JsonListener.start([answering("hello")], {}, { counts, crowd });
  await using client = new Http2Client(it.port);
  expect((await client.ask({})).body).toBe("hello");
  let told = false;
  client.session.on("goaway", () => {
    told = true;
  });
  // As if this worker had 64 connections of 64, and another one none.
  for (let n = 0; n < 64; n++) all.take(Number.POSITIVE_INFINITY);
  workers.take(Number.POSITIVE_INFINITY);
  workers.take(Number.POSITIVE_INFINITY);
  // What is gone by the next look is worth nobody's reconnect.
  crowd.onTimer();
  expect(crowd.sendsAway()).toBe(false);
  crowd.onTimer();
  expect((await client.ask({})).body).toBe("hello");
  await until(() => told);
  crowd.part();
});
