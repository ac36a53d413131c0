import type { JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { answering, JsonListener, listenerOptions } from "../../test/support/json-listener.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { ConnectionCounts, connectionCountsMemory } from "./connection-counts.ts";

test("a limit holds for all workers together, and a worker that is gone has no connections", () => {
  const memory = connectionCountsMemory(3);
  const [a, b] = [0, 2].map((worker) => new ConnectionCounts(memory, worker));
  const [one, two] = [a?.counter("all"), b?.counter("all")];
  expect([one?.take(2), two?.take(2), one?.take(2)]).toEqual([true, true, false]);
  expect(a?.counter("workers").sum).toBe(0);
  one?.release();
  expect(two?.take(2)).toBe(true);
  expect(one?.sum).toBe(2);
  a?.forget(2);
  expect(one?.sum).toBe(0);
});

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const limited = (maxConnections: string, text = "hello"): JsonObject => {
  const chain = answering(text);
  const limit = {
    name: "limit",
    typedConfig: {
      "@type": "type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
      statPrefix: "limit",
      maxConnections,
    },
  };
  return { ...chain, filters: [limit, ...(chain["filters"] as JsonObject[])] };
};

test.each(["connection_limit", "the limit of the whole proxy"])(
  "%s closes what is too much, and no more",
  async (which) => {
    const counts = new ConnectionCounts(connectionCountsMemory(2), 0);
    const own = which === "connection_limit";
    const context = { counts, connectionsMax: own ? 100 : 2 };
    await using it = await JsonListener.start([own ? limited("2") : answering("hello")], {}, context);
    const clients = [new RawClient(it.port), new RawClient(it.port)];
    for (const client of clients) await client.send(GET).until((text) => text.endsWith("hello"));
    using third = new RawClient(it.port);
    expect(await third.end()).toBe("");
    clients[0]?.[Symbol.dispose]();
    await until(() => counts.counter("all").sum === 1);
    using fourth = new RawClient(it.port);
    await fourth.send(GET).until((text) => text.endsWith("hello"));
    clients[1]?.[Symbol.dispose]();
  },
);

test("a limit holds however often its filter chain has been another one", async () => {
  await using it = await JsonListener.start([limited("1")]);
  for (let change = 0; change < 600; change++) {
    it.running.update(listenerOptions([limited("1", `hello ${change}`)]), 0);
    using client = new RawClient(it.port);
    await client.send(GET).until((text) => text.endsWith(`hello ${change}`));
  }
  it.running.update(listenerOptions([limited("1")]), 0);
  using first = new RawClient(it.port);
  await first.send(GET).until((text) => text.endsWith("hello"));
  using second = new RawClient(it.port);
  expect(await second.send(GET).end()).toBe("");
});
