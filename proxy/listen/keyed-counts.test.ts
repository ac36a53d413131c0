import { expect, test } from "vitest";

import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { answering, compileJson, JsonListener } from "../../test/support/json-listener.ts";
import { clientGroup } from "./client-group.ts";
import { KeyedCounts, keyedCountsMemory } from "./keyed-counts.ts";

test("a client is an IPv4 address, in whatever clothes, or an IPv6 /64", () => {
  expect(clientGroup("::ffff:192.0.2.1")).toBe(clientGroup("192.0.2.1"));
  expect(clientGroup("192.0.2.1")).not.toBe(clientGroup("192.0.2.2"));
  expect(clientGroup("2001:db8:1:2::1")).toBe(clientGroup("2001:db8:1:2:ffff:ffff:ffff:ffff"));
  expect(clientGroup("2001:db8:1:2::1")).not.toBe(clientGroup("2001:db8:1:3::1"));
  expect(clientGroup("")).toBeUndefined();
});

test("the limit holds for all workers together, and a worker that is gone has no connections", () => {
  const memory = keyedCountsMemory(3);
  const [one, two] = [new KeyedCounts(memory, 0), new KeyedCounts(memory, 2)];
  const release = one.take("a", 2);
  expect([two.take("a", 2), two.take("a", 2), one.take("b", 2)].map((taken) => taken !== undefined)).toEqual([
    true,
    false,
    true,
  ]);
  release?.();
  expect(two.take("a", 2)).toBeDefined();
  expect(one.take("a", 2)).toBeUndefined();
  one.forget(2);
  expect(one.take("a", 2)).toBeDefined();
});

test("clients come and go, a hundred thousand of them, and every place is used again", () => {
  const counts = new KeyedCounts(keyedCountsMemory(1), 0);
  for (let n = 0; n < 100_000; n++) counts.take(`client ${n}`, 1)?.();
  const held = Array.from({ length: 4_096 }, (_, n) => counts.take(`client ${n}`, 1));
  expect(held.every((one) => one !== undefined)).toBe(true);
  expect(Array.from({ length: 4_096 }, (_, n) => counts.take(`client ${n}`, 1)).some(Boolean)).toBe(false);
});

const limits = (fields: Record<string, number>) => ({ metadata: { filterMetadata: { "sluice.connections": fields } } });
const GET = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
const overflows = (it: JsonListener) => it.stats.get("listener.downstream_cx_overflow");

test.each(["max", "max_per_address"])(
  "%s closes what is too much as it comes, counts it, and takes no more",
  async (word) => {
    await using it = await JsonListener.start([answering("hello")], limits({ [word]: 2 }));
    const clients = [new RawClient(it.port), new RawClient(it.port)];
    for (const client of clients) await client.send(GET).until((text) => text.endsWith("hello"));
    using third = new RawClient(it.port);
    expect(await third.end()).toBe("");
    expect(overflows(it)).toBe(1);
    clients[0]?.[Symbol.dispose]();
    await until(() => it.stats.get("downstream_cx_active") === 1);
    using fourth = new RawClient(it.port);
    await fourth.send(GET).until((text) => text.endsWith("hello"));
    clients[1]?.[Symbol.dispose]();
  },
);

test("behind a PROXY header the client is the one that it names, not who sends it", async () => {
  const proxyProtocol = {
    name: "proxy",
    typedConfig: {
      "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    },
  };
  const more = { ...limits({ max_per_address: 1 }), listenerFilters: [proxyProtocol] };
  await using it = await JsonListener.start([answering("hello")], more);
  const from = (address: string) => new RawClient(it.port).send(`PROXY TCP4 ${address} 192.0.2.80 1 80\r\n${GET}`);
  using first = from("198.51.100.1");
  await first.until((text) => text.endsWith("hello"));
  using second = from("198.51.100.2");
  await second.until((text) => text.endsWith("hello"));
  using third = from("198.51.100.1");
  expect(await third.end()).toBe("");
  expect(overflows(it)).toBe(1);
});

test("words of ours that nobody knows are refused, others' metadata is not ours to judge", () => {
  const problems = (filterMetadata: Record<string, Record<string, number | string>>) => {
    const compiled = compileJson([answering("x")], { metadata: { filterMetadata } });
    return compiled.ok ? [] : compiled.problems.map(({ field }) => field);
  };
  expect(problems({ "someone.else": { max: "many" } })).toEqual([]);
  expect(problems({ "sluice.connections": { max: -1, most: 2 } })).toEqual([
    'metadata.filter_metadata.["sluice.connections"].max',
    'metadata.filter_metadata.["sluice.connections"].most',
  ]);
  expect(problems({ "sluice.other": {} })).toEqual(['metadata.filter_metadata.["sluice.other"]']);
});
