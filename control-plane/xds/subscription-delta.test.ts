/** The rules of delta streams, by their ids in docs/xds-rules.md, on the plain value. */
import { expect, test } from "vitest";

import { DeltaPlayer, grpcTraits, oldEnvoyTraits, type Played } from "../../test/support/xds-player.ts";

/** What a response tells, without its version and nonce. */
const told = (played: Played | undefined) =>
  played && { resources: Object.keys(played.resources).sort(), removed: [...played.removed].sort() };

/** A client that is in sync: all it asked for is sent and accepted. */
function inSync(player: DeltaPlayer, first: Parameters<DeltaPlayer["request"]>[0]): DeltaPlayer {
  player.request(first);
  player.request({ nonce: player.take()?.nonce ?? "" });
  return player;
}

const two = { a: "1", b: "1" };

test("D1 every response has a version and a nonce of its own", () => {
  const player = new DeltaPlayer("CDS", two);
  player.request({});
  const first = player.take();
  player.request({ nonce: first?.nonce ?? "" });
  player.change({ a: "2" });
  const second = player.take();
  expect(first?.version).toMatch(/^[0-9a-f]{16}$/);
  expect(second?.version).toMatch(/^[0-9a-f]{16}$/);
  expect(second?.version).not.toBe(first?.version);
  expect(second?.nonce).not.toBe(first?.nonce);
});

test("D2 a subscription in a request with a stale nonce counts", () => {
  const player = inSync(new DeltaPlayer("EDS", two), { subscribe: ["a"] });
  expect(player.request({ subscribe: ["b"], nonce: "of long ago" }).verdict).toBe("stale");
  expect(told(player.take())).toEqual({ resources: ["b"], removed: [] });
});

test("D2 one request accepts and subscribes", () => {
  const player = new DeltaPlayer("EDS", two);
  player.request({ subscribe: ["a"] });
  const nonce = player.take()?.nonce ?? "";
  expect(player.request({ subscribe: ["b"], nonce }).verdict).toBe("ack");
  expect(told(player.take())).toEqual({ resources: ["b"], removed: [] });
});

test("D3 subscribing again is answered though nothing changed", () => {
  const player = inSync(new DeltaPlayer("EDS", two), { subscribe: ["a", "b"] });
  player.request({ subscribe: ["a"] });
  expect(told(player.take())).toEqual({ resources: ["a"], removed: [] });
});

test("D3 subscribing to everything again is answered with everything", () => {
  const player = inSync(new DeltaPlayer("CDS", two), { subscribe: ["*"] });
  player.request({ subscribe: ["*"] });
  expect(told(player.take())).toEqual({ resources: ["a", "b"], removed: [] });
});

test("D3 a name is answered under the wildcard too", () => {
  const player = inSync(new DeltaPlayer("CDS", two), {});
  player.request({ subscribe: ["a"] });
  expect(told(player.take())).toEqual({ resources: ["a"], removed: [] });
});

test("D4 an unknown name is answered as removed, and sent when it comes into being", () => {
  const player = new DeltaPlayer("EDS", two);
  player.request({ subscribe: ["c"] });
  const first = player.take();
  expect(told(first)).toEqual({ resources: [], removed: ["c"] });
  expect([...player.sub.missing]).toEqual(["c"]);
  player.request({ nonce: first?.nonce ?? "" });
  player.change({ c: "1" });
  expect(told(player.take())).toEqual({ resources: ["c"], removed: [] });
  expect([...player.sub.missing]).toEqual([]);
});

test("D5 an empty first request means everything, for the types that have a wildcard", () => {
  const clusters = new DeltaPlayer("CDS", two);
  clusters.request({});
  expect(told(clusters.take())).toEqual({ resources: ["a", "b"], removed: [] });
  const endpoints = new DeltaPlayer("EDS", two);
  endpoints.request({});
  expect(endpoints.take()).toBeUndefined();
});

test("D5 a name after the legacy wildcard adds to it", () => {
  const player = inSync(new DeltaPlayer("CDS", two), {});
  player.request({ nonce: (player.request({ subscribe: ["a"] }), player.take()?.nonce ?? "") });
  player.change({ b: "2" });
  expect(told(player.take())).toEqual({ resources: ["b"], removed: [] });
});

test("D5 unsubscribing from everything leaves what is named, and is no wildcard afterwards", () => {
  const player = inSync(new DeltaPlayer("CDS", two), { subscribe: ["*", "a"] });
  player.request({ unsubscribe: ["*"] });
  expect(player.take()).toBeUndefined();
  player.change({ a: "2", b: "2" });
  const push = player.take();
  expect(told(push)).toEqual({ resources: ["a"], removed: [] });
  player.request({ unsubscribe: ["a"], nonce: push?.nonce ?? "" });
  player.change({ a: "3", b: "3" });
  expect(player.take()).toBeUndefined();
});

test("D6 a name that was never subscribed is unsubscribed in silence; empty lists change nothing", () => {
  const player = inSync(new DeltaPlayer("EDS", two), { subscribe: ["a"] });
  player.request({ unsubscribe: ["b", "never"] });
  player.request({});
  expect(player.take()).toBeUndefined();
  player.change({ a: "2" });
  expect(told(player.take())).toEqual({ resources: ["a"], removed: [] });
});

test("D7 unsubscribing needs no answer", () => {
  const player = inSync(new DeltaPlayer("EDS", two), { subscribe: ["a", "b"] });
  player.request({ unsubscribe: ["a"] });
  expect(player.take()).toBeUndefined();
  player.change({ a: "2" });
  expect(player.take()).toBeUndefined();
});

test("D7 unsubscribing from a name under the wildcard is answered with the resource, or its absence", () => {
  const player = inSync(new DeltaPlayer("CDS", two), { subscribe: ["*", "a", "c"] });
  player.request({ unsubscribe: ["a", "c"] });
  expect(told(player.take())).toEqual({ resources: ["a"], removed: ["c"] });
});

test("D8 a name that one request subscribes and unsubscribes ends unsubscribed", () => {
  const player = inSync(new DeltaPlayer("EDS", two), { subscribe: ["a"] });
  player.request({ subscribe: ["b"], unsubscribe: ["b"] });
  expect(player.take()).toBeUndefined();
  player.change({ b: "2" });
  expect(player.take()).toBeUndefined();
});

test("D9 a client that reconnects gets what changed and what is gone", () => {
  const before = new DeltaPlayer("CDS", { a: "1", b: "1", c: "1" });
  const initial = Object.fromEntries(["a", "b", "c"].map((name) => [name, before.version(name)]));
  const after = new DeltaPlayer("CDS", { a: "1", b: "2", d: "1" });
  after.request({ initial });
  expect(told(after.take())).toEqual({ resources: ["b", "d"], removed: ["c"] });
});

test("D9 names that the client holds are no subscription", () => {
  const player = new DeltaPlayer("EDS", two);
  player.request({ subscribe: ["a"], initial: { a: "other", b: "other", c: "other" } });
  expect(told(player.take())).toEqual({ resources: ["a"], removed: [] });
});

test("D9 a subscribed name whose version the client holds is not sent again; one that is gone is removed", () => {
  const player = new DeltaPlayer("EDS", two);
  player.request({ subscribe: ["a", "gone"], initial: { a: player.version("a"), gone: "1" } });
  expect(told(player.take())).toEqual({ resources: [], removed: ["gone"] });
});

test("D9 D5 an old Envoy lists what it holds when it reconnects, and means everything", () => {
  const player = new DeltaPlayer("CDS", two, oldEnvoyTraits);
  player.request({ subscribe: ["a", "gone"], initial: { a: player.version("a"), gone: "1" } });
  expect(told(player.take())).toEqual({ resources: ["b"], removed: ["gone"] });
  const modern = new DeltaPlayer("CDS", two);
  modern.request({ subscribe: ["a", "gone"], initial: { a: modern.version("a"), gone: "1" } });
  expect(told(modern.take())).toEqual({ resources: [], removed: ["gone"] });
});

test("D10 the first request for everything is answered even if the client has all", () => {
  const player = new DeltaPlayer("CDS", two);
  player.request({ initial: { a: player.version("a"), b: player.version("b") } });
  expect(told(player.take())).toEqual({ resources: [], removed: [] });
});

test("D11 a removal is told once, and only to a client that has the resource", () => {
  const player = inSync(new DeltaPlayer("CDS", two), {});
  player.change({ c: "1" });
  player.change({ c: null, a: null });
  const push = player.take();
  expect(told(push)).toEqual({ resources: [], removed: ["a"] });
  player.request({ nonce: push?.nonce ?? "" });
  expect(player.take()).toBeUndefined();
});

test("D12 S7 what was refused is not sent again until it changes", () => {
  const player = inSync(new DeltaPlayer("CDS", two), {});
  player.change({ a: "bad" });
  const bad = player.take();
  expect(player.request({ nonce: bad?.nonce ?? "", refusal: "no" }).verdict).toBe("nack");
  expect(player.sub.nack).toBe("no");
  expect(player.take()).toBeUndefined();
  player.change({ b: "2" });
  const other = player.take();
  expect(told(other)).toEqual({ resources: ["b"], removed: [] });
  player.request({ nonce: other?.nonce ?? "" });
  player.change({ a: "1" }); // Back to what it had: the client may hold the bad one.
  expect(told(player.take())).toEqual({ resources: ["a"], removed: [] });
});

test("D14 while a response is under way later changes are coalesced", () => {
  const player = new DeltaPlayer("CDS", two);
  player.request({});
  const first = player.take();
  for (let at = 0; at < 1000; at++) player.change({ a: `${at}`, [`c${at % 10}`]: `${at}` });
  player.change({ b: "2" });
  player.change({ b: "1" }); // As it was sent: no change.
  expect(player.take()).toBeUndefined();
  player.request({ nonce: first?.nonce ?? "" });
  const second = player.take();
  expect(told(second)?.resources).toEqual(["a", ...Array.from({ length: 10 }, (_, at) => `c${at}`)]);
  expect(second?.resources.a).toBe(player.version("a"));
});

test("T7 a large response is split, removals last", () => {
  const player = new DeltaPlayer("CDS", two);
  player.request({ initial: { gone: "1" } });
  const first = player.take(undefined, 1);
  expect(told(first)).toEqual({ resources: ["a"], removed: [] });
  player.request({ nonce: first?.nonce ?? "" });
  const second = player.take(undefined, 1);
  expect(told(second)).toEqual({ resources: ["b"], removed: [] });
  player.request({ nonce: second?.nonce ?? "" });
  expect(told(player.take(undefined, 1))).toEqual({ resources: [], removed: ["gone"] });
});

test("S12 an empty request of a gRPC client means nothing", () => {
  const player = new DeltaPlayer("CDS", two, grpcTraits);
  player.request({});
  expect(player.take()).toBeUndefined();
});

test("W6 removals wait until they may go", () => {
  const player = inSync(new DeltaPlayer("CDS", two), {});
  player.change({ a: null, c: "1" });
  const first = player.take({ updates: true, removals: false });
  expect(told(first)).toEqual({ resources: ["c"], removed: [] });
  player.request({ nonce: first?.nonce ?? "" });
  expect(player.take({ updates: true, removals: false })).toBeUndefined();
  expect(told(player.take())).toEqual({ resources: [], removed: ["a"] });
});
