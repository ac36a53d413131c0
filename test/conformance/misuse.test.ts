/** What breaks the protocol, floods, or hangs: a reason where the stream ends, silence and a count where it goes on, and nobody else's trouble. */
import { afterEach, beforeEach, expect, test } from "vitest";

import { servedType } from "#proto/resource-types.ts";

import { clusterOf, namesIn, reason, type Running, service, startRunning } from "./running.ts";

const CDS = servedType("CDS").typeUrl;
const EDS = servedType("EDS").typeUrl;

let running: Running;
let bystander: ReturnType<Running["delta"]>;
beforeEach(async () => {
  running = await startRunning(["a"]);
  bystander = running.delta({ node: { id: "bystander", cluster: "default" } });
  bystander.send({ typeUrl: EDS, resourceNamesSubscribe: [clusterOf("a"), clusterOf("b")] });
  await bystander.next();
});
/** Whatever a test did, the stream of another goes on. */
afterEach(async () => {
  await running.apply([service("b")]);
  await bystander.until(() => bystander.held(EDS).has(clusterOf("b")));
  await running[Symbol.asyncDispose]();
});

test.each([
  ["no type on ADS", { resourceNamesSubscribe: ["a"] }, /^INVALID_ARGUMENT: .*type_url/],
  [
    "60,000 made-up names",
    { typeUrl: EDS, resourceNamesSubscribe: Array.from({ length: 60_000 }, (_, at) => `made-up-${at}`) },
    /^RESOURCE_EXHAUSTED: more than 50000 names/,
  ],
  [
    "60,000 held versions",
    {
      typeUrl: CDS,
      initialResourceVersions: Object.fromEntries(Array.from({ length: 60_000 }, (_, at) => [`held-${at}`, "1"])),
    },
    /^RESOURCE_EXHAUSTED: more than 50000 names/,
  ],
  [
    "a name of 1 MB",
    { typeUrl: EDS, resourceNamesSubscribe: ["x".repeat(1_000_000)] },
    /^INVALID_ARGUMENT: a resource name/,
  ],
])("%s", async (_, request, expected) => {
  const client = running.delta();
  client.send(request);
  expect(reason(await client.end())).toMatch(expected);
});

test.each(["delta", "sotw"] as const)("random bytes, %s", async (kind) => {
  for (const bytes of ["ff", "0a05", "0a80808080808080808001", "12ffffffff0f", "1a021234"]) {
    const client = running[kind]();
    client.sendRaw(Buffer.from(bytes, "hex"));
    expect(reason(await client.end())).toMatch(/^INVALID_ARGUMENT: /);
  }
});

test("a message of more than 64 MiB", async () => {
  const client = running.delta();
  client.sendRaw(Buffer.alloc(65 * 1024 * 1024));
  expect(reason(await client.end())).toMatch(/^RESOURCE_EXHAUSTED/);
});

test("S7 refusals without end get silence, and the next change", async () => {
  const client = running.delta({ answer: () => ({ refuse: "never" }) });
  client.send({ typeUrl: CDS });
  const first = await client.next();
  for (let at = 0; at < 1_000; at++) client.answer(first, { refuse: `never ${at}` });
  await running.apply([service("c")]);
  expect(namesIn(await client.next())).toEqual([clusterOf("c")]);
  expect(client.responses).toHaveLength(2);
});

test("a flood of subscriptions of one client is answered in few responses", async () => {
  const client = running.delta({ answer: () => "none" });
  for (let at = 0; at < 4_000; at++) client.send({ typeUrl: EDS, resourceNamesSubscribe: [clusterOf("a")] });
  // Served after all of that, as it was sent last.
  client.send({ typeUrl: CDS });
  await client.until(() => client.responses.some(({ typeUrl }) => typeUrl === CDS));
  expect(client.responses.length).toBeLessThanOrEqual(2);
});

test("T4 a thousand unknown types get silence", async () => {
  const client = running.delta();
  for (let at = 0; at < 1_000; at++) client.send({ typeUrl: `type.googleapis.com/made.Up${at}` });
  client.send({ typeUrl: CDS });
  expect((await client.next()).typeUrl).toBe(CDS);
});

test("a client that stops reading holds up nobody", async () => {
  const slow = running.delta();
  slow.send({ typeUrl: EDS, resourceNamesSubscribe: [clusterOf("a")] });
  slow.pause();
  for (let instance = 2; instance < 20; instance++) {
    await running.apply([service("a", instance)]);
  }
  const from = bystander.held(EDS).get(clusterOf("a"))?.version;
  await running.apply([service("a", 200)]);
  await bystander.until(() => bystander.held(EDS).get(clusterOf("a"))?.version !== from);
  slow.resume();
  const wanted = () => bystander.held(EDS).get(clusterOf("a"))?.version;
  await slow.until(() => slow.held(EDS).get(clusterOf("a"))?.version === wanted());
});
