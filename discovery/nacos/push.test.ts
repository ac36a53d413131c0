/** Pushes over gRPC, from scripted servers: who we say we are, TLS, order, and fail-over. */
import { createHmac } from "node:crypto";

import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { ScriptedNacos } from "../../test/support/scripted-nacos.ts";
import { waitFor } from "../../test/support/wait.ts";
import { startWatching } from "../../test/support/watching.ts";

import { DiscoveryError } from "../source.ts";
import type { NacosServiceInfo } from "./convert.ts";
import type { NacosSettings } from "./settings.ts";
import { NacosSource } from "./source.ts";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function server(...tls: Parameters<typeof ScriptedNacos.start>): Promise<ScriptedNacos> {
  const made = await ScriptedNacos.start(...tls);
  cleanups.push(() => made[Symbol.asyncDispose]());
  return made;
}

function open(servers: readonly ScriptedNacos[], more: Partial<NacosSettings> = {}, url = "http://127.0.0.1") {
  const addresses = servers.map(({ port }) => `${url}:${port - 1}`);
  const source = new NacosSource({ addresses, grpcPortOffset: 1, protocol: "grpc", ...more });
  cleanups.push(() => source.close());
  return source;
}

function watch(source: NacosSource) {
  const watching = startWatching(source, { service: "orders" });
  cleanups.push(() => watching.stop());
  return watching;
}

const orders = (lastRefTime: number, ...ips: string[]): NacosServiceInfo => ({
  ...{ name: "orders", groupName: "DEFAULT_GROUP", lastRefTime },
  hosts: ips.map((ip) => ({ ip, port: 80 })),
});

const keys = { accessKey: "AK", secretKey: "s3cret" };

test("what concerns a service is signed with the access key, and a denial of it is one of permission", async () => {
  const nacos = await server();
  nacos.info = orders(1, "10.0.0.1");
  nacos.denial = ({ headers: { ak, data = "", signature } }) => {
    const expected = createHmac("sha1", keys.secretKey).update(data).digest("base64");
    if (ak !== keys.accessKey || signature !== expected) return "signature mismatch";
    return /^\d+@@DEFAULT_GROUP@@(orders)?$/.test(data) ? undefined : `not about the service: ${data}`;
  };
  const right = open([nacos], { keys });
  const watching = watch(right);
  await waitFor("the instance", () => watching.addresses?.join() === "10.0.0.1");
  await right.list(AbortSignal.timeout(60_000));
  expect(nacos.asked.map(({ type }) => type)).toEqual(["SubscribeServiceRequest", "ServiceListRequest"]);
  expect(JSON.stringify(nacos.asked)).not.toContain(keys.secretKey);

  const wrong = watch(open([nacos], { keys: { ...keys, secretKey: "other" } }));
  await waitFor("the denial", () => wrong.error !== undefined);
  expect(wrong.error).toMatchObject({ kind: "permission_denied", message: /signature mismatch/ });
  const nobody = watch(open([nacos]));
  await waitFor("the denial", () => nobody.error !== undefined);
  expect(nobody.error).toMatchObject({ kind: "unauthenticated" });
});

test("a server is found by its name, and over TLS only with a certificate for it", async () => {
  using authority = new TestAuthority();
  const secure = await server(authority.issue({ name: "nacos", altNames: ["DNS:localhost"] }));
  secure.info = orders(1, "10.0.0.1");
  const tls = { ca: authority.cert };
  const watching = watch(open([secure], { tls }, "https://localhost"));
  await waitFor("the instance", () => watching.addresses?.join() === "10.0.0.1");

  const unknown = open([secure], {}, "https://localhost");
  await expect(unknown.probe(AbortSignal.timeout(60_000))).rejects.toMatchObject({
    kind: "unreachable",
    message: /certificate/,
  });
  const misnamed = open([secure], { tls: { ...tls, serverName: "other.test" } }, "https://localhost");
  await expect(misnamed.probe(AbortSignal.timeout(60_000))).rejects.toMatchObject({
    kind: "unreachable",
    message: /other\.test/,
  });
  const unverified = open([secure], { tls: { verify: false } }, "https://127.0.0.1");
  const seen = watch(unverified);
  await waitFor("the instance", () => seen.addresses?.join() === "10.0.0.1");
});

test("whatever order pushes come in, what the server made last is what counts", async () => {
  const nacos = await server();
  const source = open([nacos]);
  let made = 0;
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray([1, 2, 3, 4, 5, 6], { minLength: 1 }), async (order) => {
      const base = (made += 10);
      nacos.info = orders(base, "10.0.0.0");
      const watching = startWatching(source, { service: "orders" });
      await waitFor("the first", () => watching.addresses?.join() === "10.0.0.0");
      for (const at of order) nacos.push(orders(base + at, `10.0.0.${at}`));
      const last = `10.0.0.${Math.max(...order)}`;
      await waitFor("the latest", () => watching.addresses?.join() === last);
      // A push of its own service comes last of all: by then nothing older is under way.
      nacos.push(orders(base + 9, "10.0.0.9"));
      await waitFor("the end", () => watching.addresses?.join() === "10.0.0.9");
      await watching.stop();
      const seen = watching.snapshots.map(({ revision }) => Number(revision));
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));
    }),
    { numRuns: 20 },
  );
});

test("a server whose clock is set back is heard all the same", async () => {
  const nacos = await server();
  nacos.info = orders(1_700_003_600_000, "10.0.0.1");
  const watching = watch(open([nacos]));
  await waitFor("the instance", () => watching.addresses?.join() === "10.0.0.1");
  nacos.push(orders(1_700_000_000_000, "10.0.0.2"));
  await waitFor("what it says an hour earlier", () => watching.addresses?.join() === "10.0.0.2");
});

test("the next server takes over when one sends us away or ends, and says so where it may know less", async () => {
  const [one, two] = [await server(), await server()];
  one.info = orders(1, "10.0.0.1");
  two.info = orders(2, "10.0.0.2");
  const source = open([one, two]);
  const watching = watch(source);
  await waitFor("the first", () => watching.addresses?.join() === "10.0.0.1");
  one.reset();
  await waitFor("the other", () => watching.addresses?.join() === "10.0.0.2");
  expect(watching.snapshots.map(({ discontinuous }) => discontinuous)).toEqual([false, true]);
  expect(watching.error).toBeUndefined();
  await waitFor("the first to be left", () => one.connections === 0);

  await two[Symbol.asyncDispose]();
  await waitFor("the end", () => watching.error !== undefined);
  expect(watching.error).toMatchObject({ kind: "unreachable" });
  // The supervisor begins anew, with the one that is left.
  const again = watch(source);
  await waitFor("the first again", () => again.addresses?.join() === "10.0.0.1");
});

test("a watch that begins anew while the one before it is given up stays subscribed, however slow the server is with that", async () => {
  const nacos = await server();
  nacos.info = orders(1, "10.0.0.1");
  const leaving = Promise.withResolvers<void>();
  nacos.delay = ({ body }) => (body["subscribe"] === false ? leaving.promise : Promise.resolve());
  const source = open([nacos]);
  const first = startWatching(source, { service: "orders" });
  await waitFor("the instance", () => first.addresses?.length === 1);
  await first.stop();
  const second = watch(source);
  await waitFor("the end of the first subscription", () => nacos.asked.length >= 2);
  leaving.resolve();
  await waitFor("the instance again", () => second.addresses?.length === 1);
  expect(nacos.asked.map(({ body }) => body["subscribe"])).toEqual([true, false, true]);
  expect([...nacos.subscribed]).toEqual(["orders"]);
});

test("what a server forgot to push, or whom it forgot, comes to light within ten minutes; so do rights that were withdrawn", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  cleanups.push(() => vi.useRealTimers());
  const nacos = await server();
  nacos.info = orders(1, "10.0.0.1");
  const watching = watch(open([nacos]));
  await waitFor("the instance", () => watching.addresses?.join() === "10.0.0.1");
  nacos.subscribed.clear();
  nacos.info = orders(2, "10.0.0.2");
  vi.advanceTimersByTime(590_000);
  expect(nacos.asked).toHaveLength(1);
  vi.advanceTimersByTime(11_000);
  await waitFor("the other", () => watching.addresses?.join() === "10.0.0.2");
  expect(nacos.asked).toHaveLength(2);
  expect([...nacos.subscribed]).toEqual(["orders"]);

  nacos.denial = () => "not yours any more";
  vi.advanceTimersByTime(601_000);
  await waitFor("the denial", () => watching.error !== undefined);
  expect(watching.error).toMatchObject({ kind: expect.stringMatching(/unauthenticated|permission_denied/) });
});

test("a source that is closed while it connects keeps no connection alive", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  cleanups.push(() => vi.useRealTimers());
  const nacos = await server();
  const [asked, welcome] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  nacos.welcome = () => {
    asked.resolve();
    return welcome.promise;
  };
  const source = open([nacos]);
  const probe = source.probe(AbortSignal.timeout(60_000)).catch((error: unknown) => error);
  await asked.promise;
  await source.close();
  expect(await probe).toBeInstanceOf(DiscoveryError);
  welcome.resolve();
  // Whose answers come after that of the first.
  const other = open([nacos]);
  await other.probe(AbortSignal.timeout(60_000)).catch(() => {});
  await other.close();
  await waitFor("the end of all timers", () => vi.getTimerCount() === 0);
});
