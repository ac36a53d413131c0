import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { RateLimitDescriptorSchema as AskedSchema } from "#envoy/extensions/common/ratelimit/v3/ratelimit_pb.ts";
import { RateLimitUnit as EnvoyUnit } from "#envoy/type/v3/ratelimit_unit_pb.ts";
import { RateLimitDomainSchema, RateLimitUnit } from "#sluice/model/v1/rate_limit_pb.ts";

import { MemoryCounters } from "./rate-limit-counters.ts";
import { compileDomain, type DomainRules } from "./rate-limit-rules.ts";
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
      { key: "day", rateLimit: { requestsPerUnit: 1, unit: RateLimitUnit.DAY } },
    ],
  }),
);

const own = compileDomain(
  "other",
  create(RateLimitDomainSchema, { domain: "own", descriptors: [{ key: "path", rateLimit: perMinute(5) }] }),
);

type Asked = Extract<MessageInitShape<typeof AskedSchema>, { $typeName?: undefined }>;
const of = (...entries: [string, string][]): Asked => ({ entries: entries.map(([key, value]) => ({ key, value })) });

/** A limiter at the start of a minute, whose clock goes on by hand. */
function limiter(max = 1_000) {
  let nowMs = 60_000_000;
  const counters = new MemoryCounters({ max, now: () => nowMs });
  const decided = async (domain: string, of: DomainRules | undefined, hits: number, descriptors: readonly Asked[]) => {
    const asked = descriptors.map((each) => create(AskedSchema, each));
    const decisions = await decide(counters, domain, of, asked, hits, nowMs);
    return decisions.map(({ limit, overLimit, remaining }) =>
      limit === undefined ? "no limit" : `${overLimit ? "over" : "ok"} ${remaining}`,
    );
  };
  return {
    counters,
    wait: (ms: number) => (nowMs += ms),
    ask: (hits: number, ...descriptors: Asked[]) => decided("edge", rules, hits, descriptors),
    /** With the limits of another domain. */
    askAs: (domain: string, of: DomainRules | undefined, ...descriptors: Asked[]) =>
      decided(domain, of, 1, descriptors),
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

test("counters are bounded: the oldest of the fullest window goes, and ended windows leave nothing", async () => {
  const { ask, counters, wait } = limiter(10);
  for (let at = 0; at < 15; at++) await ask(1, of(["path", `/${at}`]));
  expect([counters.size, counters.evicted]).toEqual([10, 5]);
  await ask(1, of(["second", "a"]), of(["second", "b"]));
  await ask(1, of(["second", "c"]));
  expect([counters.size, counters.evicted]).toEqual([10, 8]);
  expect(await ask(1, of(["second", "a"]))).toEqual(["over 0"]);
  wait(60_000);
  await ask(1, of(["path", "/new"]));
  expect(counters.size).toBe(1);
});

test("values that a client makes up under one limit void no other, as long as the first limit's window lasts", async () => {
  const { ask, counters } = limiter(10);
  for (let at = 0; at < 30; at++) await ask(1, of(["day", `made up ${at}`]));
  const login = of(["path", "/login"]);
  const asked: string[] = [];
  for (let at = 0; at < 4; at++) {
    asked.push(...(await ask(1, login)));
    await ask(1, of(["path", `/other ${at}`]));
  }
  expect(asked).toEqual(["ok 1", "ok 0", "over 0", "over 0"]);
  expect(counters.size).toBe(10);
});

test("who asks for a domain of its own, or for none that there is, voids no other's limits", async () => {
  const { ask, counters, askAs } = limiter(10);
  const login = of(["path", "/login"]);
  expect(await ask(1, login)).toEqual(["ok 1"]);
  const limit = { requestsPerUnit: 1, unit: EnvoyUnit.MINUTE };
  for (let at = 0; at < 30; at++) {
    await askAs(`made up ${at}`, undefined, { ...of(["a", "b"]), limit });
    await askAs("own", own, of(["path", `/${at}`]));
  }
  expect(await ask(1, login)).toEqual(["ok 0"]);
  expect(counters.size).toBe(10);
});

test("what is counted takes little room, however long the values are", async () => {
  const { ask } = limiter();
  const long = of(["path", "x".repeat(100_000)]);
  expect(await ask(1, long)).toEqual(["ok 4"]);
  expect(await ask(1, long, of(["path", "x".repeat(99_999)]))).toEqual(["ok 3", "ok 4"]);
});
