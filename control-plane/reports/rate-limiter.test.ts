import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { RateLimitDescriptorSchema as AskedSchema } from "#envoy/extensions/common/ratelimit/v3/ratelimit_pb.ts";
import { RateLimitUnit as EnvoyUnit } from "#envoy/type/v3/ratelimit_unit_pb.ts";
import { RateLimitDomainSchema, RateLimitUnit } from "#sluice/model/v1/rate_limit_pb.ts";

import { MemoryCounters } from "./rate-limit-counters.ts";
import { compileDomain } from "./rate-limit-rules.ts";
import { decide } from "./rate-limiter.ts";

const perMinute = (requestsPerUnit: number) => ({ requestsPerUnit, unit: RateLimitUnit.MINUTE });
const rules = compileDomain(
  "default",
  create(RateLimitDomainSchema, {
    domain: "edge",
    descriptors: [
      { key: "path", value: "/login", rateLimit: perMinute(2) },
      { key: "path", rateLimit: perMinute(5) },
      { key: "user", descriptors: [{ key: "plan", value: "free", rateLimit: perMinute(1) }] },
      { key: "user", value: "root" },
      { key: "quiet", rateLimit: perMinute(0), shadowMode: true },
      { key: "second", rateLimit: { requestsPerUnit: 1, unit: RateLimitUnit.SECOND } },
    ],
  }),
);

type Asked = Extract<MessageInitShape<typeof AskedSchema>, { $typeName?: undefined }>;
const of = (...entries: [string, string][]): Asked => ({ entries: entries.map(([key, value]) => ({ key, value })) });

/** A limiter at the start of a minute, whose clock goes on by hand. */
function limiter(max = 1_000) {
  let nowMs = 60_000_000;
  const counters = new MemoryCounters({ max, now: () => nowMs });
  return {
    counters,
    wait: (ms: number) => (nowMs += ms),
    ask: async (hits: number, ...descriptors: Asked[]) => {
      const asked = descriptors.map((each) => create(AskedSchema, each));
      const decisions = await decide(counters, "edge", rules, asked, hits, nowMs);
      return decisions.map(({ limit, overLimit, remaining }) =>
        limit === undefined ? "no limit" : `${overLimit ? "over" : "ok"} ${remaining}`,
      );
    },
  };
}

test("L4 the value's own rule goes before the one for any value, and every value is counted by itself", async () => {
  const { ask } = limiter();
  const [login, other, third] = [of(["path", "/login"]), of(["path", "/a"]), of(["path", "/b"])];
  expect(await ask(1, login, other)).toEqual(["ok 1", "ok 4"]);
  expect(await ask(1, login, third)).toEqual(["ok 0", "ok 4"]);
  // What is over one limit still counts towards the others.
  expect(await ask(1, login, other)).toEqual(["over 0", "ok 3"]);
  expect(await ask(1, other)).toEqual(["ok 2"]);
});

test("L4 a limit holds for descriptors that end at it, by all of their entries", async () => {
  const { ask } = limiter();
  expect(await ask(1, of(["user", "x"]))).toEqual(["no limit"]);
  expect(await ask(1, of(["user", "x"], ["plan", "free"]), of(["user", "y"], ["plan", "free"]))).toEqual([
    "ok 0",
    "ok 0",
  ]);
  expect(await ask(1, of(["user", "x"], ["plan", "free"]))).toEqual(["over 0"]);
  expect(await ask(1, of(["user", "x"], ["plan", "gold"]))).toEqual(["no limit"]);
  expect(await ask(1, of(["user", "x"], ["plan", "free"], ["more", "1"]))).toEqual(["no limit"]);
  // The rule for this very user has nothing that follows, and is not gone back from.
  expect(await ask(1, of(["user", "root"], ["plan", "free"]))).toEqual(["no limit"]);
  expect(await ask(1, of(["nobody", "x"]))).toEqual(["no limit"]);
});

test("L4 hits_addend, and windows that begin anew", async () => {
  const { ask, wait } = limiter();
  const [path, second] = [of(["path", "/a"]), of(["second", "x"])];
  expect(await ask(3, path)).toEqual(["ok 2"]);
  expect(await ask(3, path)).toEqual(["over 0"]);
  expect(await ask(1, second)).toEqual(["ok 0"]);
  expect(await ask(1, second)).toEqual(["over 0"]);
  wait(1_000);
  expect(await ask(1, second, path)).toEqual(["ok 0", "over 0"]);
  wait(59_000);
  expect(await ask(1, path)).toEqual(["ok 4"]);
});

test("L4 a descriptor's own limit replaces the configured one", async () => {
  const { ask } = limiter();
  const own = { ...of(["path", "/a"]), limit: { requestsPerUnit: 1, unit: EnvoyUnit.HOUR } };
  expect(await ask(1, own, { ...of(["nobody", "x"]), limit: { requestsPerUnit: 7, unit: EnvoyUnit.YEAR } })).toEqual([
    "ok 0",
    "ok 6",
  ]);
  expect(await ask(1, own)).toEqual(["over 0"]);
});

test("counters are bounded: the oldest of the window that ends first goes, and ended windows leave nothing", async () => {
  const { ask, counters, wait } = limiter(10);
  for (let at = 0; at < 15; at++) await ask(1, of(["path", `/${at}`]));
  expect([counters.size, counters.evicted]).toEqual([10, 5]);
  await ask(1, of(["second", "a"]), of(["second", "b"]));
  await ask(1, of(["second", "c"]));
  // The last eviction took "a", whose window ends first.
  expect(await ask(1, of(["second", "a"]))).toEqual(["ok 0"]);
  wait(60_000);
  await ask(1, of(["path", "/new"]));
  expect(counters.size).toBe(1);
});

test("what is counted takes little room, however long the values are", async () => {
  const { ask } = limiter();
  const long = of(["path", "x".repeat(100_000)]);
  expect(await ask(1, long)).toEqual(["ok 4"]);
  expect(await ask(1, long, of(["path", "x".repeat(99_999)]))).toEqual(["ok 3", "ok 4"]);
});
