/** The rules of state-of-the-world streams, by their ids in docs/xds-rules.md, on the plain value. */
import { expect, test } from "vitest";

import { grpcTraits, type Played, SotwPlayer } from "../../test/support/xds-player.ts";

const told = (played: Played | undefined) => played && Object.keys(played.resources).sort();

type Request = Parameters<SotwPlayer["request"]>[0];

/** A client that is in sync: all it asked for is sent and accepted. */
function inSync(player: SotwPlayer, first: Request): { player: SotwPlayer; nonce: string; version: string } {
  player.request(first);
  const { nonce, version } = player.take() ?? { nonce: "", version: "" };
  player.request({ ...first, nonce, version });
  return { player, nonce, version };
}

const two = { a: "1", b: "1" };

test("S1 S17 the version is a hash of the content, whatever the order in which it came about", () => {
  const one = new SotwPlayer("CDS", { a: "1", b: "2" });
  const other = new SotwPlayer("CDS", { c: "1", b: "1", a: "1" });
  other.change({ b: "2", c: null });
  one.request({});
  other.request({});
  expect(one.take()?.version).toBe(other.take()?.version);
});

test("S3 a request with error_detail is a refusal, whatever its version", () => {
  const player = new SotwPlayer("CDS", two);
  player.request({});
  const { nonce, version } = player.take() ?? { nonce: "", version: "" };
  expect(player.request({ nonce, version, refusal: "no" }).verdict).toBe("nack");
  expect(player.sub.nack).toBe("no");
  expect(player.take()).toBeUndefined();
});

test("S5 stale nonce: what it asks for is delivered once, after the response under way is accepted", () => {
  const { player, nonce: old } = inSync(new SotwPlayer("EDS", two), { names: ["a"] });
  player.change({ a: "2" });
  const push = player.take();
  expect(told(push)).toEqual(["a"]);
  expect(player.request({ names: ["a", "b"], nonce: old }).verdict).toBe("stale");
  expect(player.take()).toBeUndefined();
  player.request({ names: ["a", "b"], nonce: push?.nonce ?? "" });
  const next = player.take();
  expect(told(next)).toEqual(["b"]);
  player.request({ names: ["a", "b"], nonce: next?.nonce ?? "" });
  expect(player.take()).toBeUndefined();
});

test("S5 stale nonce: no answer though nothing is under way", () => {
  const { player, nonce: old } = inSync(new SotwPlayer("EDS", two), { names: ["a"] });
  player.change({ a: "2" });
  const nonce = player.take()?.nonce ?? "";
  player.request({ names: ["a"], nonce });
  player.request({ names: ["a", "b"], nonce: old });
  expect(player.take()).toBeUndefined();
  player.request({ names: ["a", "b"], nonce });
  expect(told(player.take())).toEqual(["b"]);
});

test("S6 an empty nonce is a new subscription and is answered", () => {
  const { player, nonce, version } = inSync(new SotwPlayer("EDS", two), { names: ["a"] });
  player.request({ names: [], nonce, version });
  expect(player.take()).toBeUndefined();
  player.request({ names: ["a"] });
  const again = player.take();
  expect(told(again)).toEqual(["a"]);
  player.request({ names: ["a"], nonce: again?.nonce ?? "" });
  player.request({ names: ["a"] });
  expect(told(player.take())).toEqual(["a"]);
});

test("S7 an acceptance gets no answer", () => {
  for (const type of ["CDS", "EDS", "LDS", "RDS"] as const) {
    const { player } = inSync(new SotwPlayer(type, two), { names: ["a"] });
    expect(player.take()).toBeUndefined();
  }
});

test("S7 a refused set is not sent again until it changes", () => {
  const { player } = inSync(new SotwPlayer("CDS", two), {});
  player.change({ a: "bad" });
  player.request({ nonce: player.take()?.nonce ?? "", refusal: "no" });
  expect(player.take()).toBeUndefined();
  player.change({ a: "better" });
  expect(told(player.take())).toEqual(["a", "b"]);
});

test("S8 only the newest of several requests is answered", () => {
  const player = new SotwPlayer("EDS", { ...two, c: "1" });
  player.request({ names: ["a"] });
  player.request({ names: ["a", "b"] });
  player.request({ names: ["b", "c"] });
  expect(told(player.take())).toEqual(["b", "c"]);
});

test("S9 the list is whole: what it lacks is unsubscribed, what is new in it is sent", () => {
  const { player, nonce } = inSync(new SotwPlayer("EDS", two), { names: ["a"] });
  player.request({ names: ["b"], nonce });
  const push = player.take();
  expect(told(push)).toEqual(["b"]);
  player.request({ names: ["b"], nonce: push?.nonce ?? "" });
  player.change({ a: "2" });
  expect(player.take()).toBeUndefined();
  player.request({ names: ["a", "b"], nonce: push?.nonce ?? "" });
  expect(told(player.take())).toEqual(["a"]);
});

test("S9 a name that is newly listed is sent though the wildcard had brought it", () => {
  const { player, nonce } = inSync(new SotwPlayer("CDS", two), { names: ["*"] });
  player.request({ names: ["*", "a"], nonce });
  expect(told(player.take())).toEqual(["a", "b"]);
});

test("S10 no names mean everything until one was named, for types that have a wildcard", () => {
  const { player, nonce } = inSync(new SotwPlayer("CDS", two), {});
  expect(player.sub.wildcard).toBe(true);
  player.request({ names: ["a"], nonce });
  const named = player.take();
  expect(told(named)).toEqual(["a"]);
  player.request({ names: [], nonce: named?.nonce ?? "" });
  player.change({ a: "2", b: "2" });
  expect(player.take()).toBeUndefined();
  const endpoints = new SotwPlayer("EDS", two);
  endpoints.request({});
  expect(endpoints.take()).toBeUndefined();
});

test("S11 an explicit wildcard with a name, then the name, then nothing", () => {
  const { player, nonce } = inSync(new SotwPlayer("CDS", two), { names: ["*", "a"] });
  expect([...player.sub.sent.keys()].sort()).toEqual(["a", "b"]);
  player.request({ names: ["a"], nonce });
  player.change({ b: "2" });
  expect(player.take()).toBeUndefined();
  player.change({ a: "2" });
  const push = player.take();
  expect(told(push)).toEqual(["a"]);
  player.request({ names: [], nonce: push?.nonce ?? "" });
  player.change({ a: "3", b: "3" });
  expect(player.take()).toBeUndefined();
});

test("S12 no names of a gRPC client mean nothing", () => {
  const player = new SotwPlayer("CDS", two, grpcTraits);
  player.request({});
  expect(player.take()).toBeUndefined();
});

test("S13 full-state types are sent whole, and empty when nothing is left; others in parts", () => {
  const clusters = inSync(new SotwPlayer("CDS", two), {});
  clusters.player.change({ a: "2" });
  const both = clusters.player.take();
  expect(told(both)).toEqual(["a", "b"]);
  clusters.player.request({ nonce: both?.nonce ?? "" });
  clusters.player.change({ a: null, b: null });
  expect(told(clusters.player.take())).toEqual([]);
  const endpoints = inSync(new SotwPlayer("EDS", two), { names: ["a", "b"] });
  endpoints.player.change({ a: "2" });
  const part = endpoints.player.take();
  expect(told(part)).toEqual(["a"]);
  endpoints.player.request({ names: ["a", "b"], nonce: part?.nonce ?? "" });
  endpoints.player.change({ a: null });
  expect(endpoints.player.take()).toBeUndefined();
});

test("S13 full state is answered even if nothing that was asked for exists", () => {
  const player = new SotwPlayer("LDS");
  player.request({ names: ["none"] });
  expect(told(player.take())).toEqual([]);
  expect([...player.sub.missing]).toEqual(["none"]);
});

test("S14 a name that is listed twice is sent once", () => {
  const player = new SotwPlayer("EDS", two);
  player.request({ names: ["a", "a"] });
  expect(told(player.take())).toEqual(["a"]);
});

test("S14 a resource that is wanted by the wildcard and by its name is sent once", () => {
  const player = new SotwPlayer("CDS", two);
  player.request({ names: ["*", "a"] });
  expect(told(player.take())).toEqual(["a", "b"]);
});

test("S15 a name that doesn't exist is sent when it comes into being", () => {
  const player = new SotwPlayer("RDS", two);
  player.request({ names: ["later"] });
  expect(player.take()).toBeUndefined();
  player.change({ later: "1" });
  expect(told(player.take())).toEqual(["later"]);
});

test("S16 a client that reconnects with the version of the whole set gets it again only if it names resources", () => {
  const { version } = inSync(new SotwPlayer("CDS", two), {});
  for (const type of ["CDS", "LDS"] as const) {
    const same = new SotwPlayer(type, two);
    same.request({ version: same.set.version });
    expect(same.take()).toBeUndefined();
    expect(same.sub.acceptedVersion).toBe(same.set.version);
    same.change({ a: null });
    expect(told(same.take())).toEqual(["b"]);
  }
  const named = new SotwPlayer("CDS", two);
  named.request({ version, names: ["a"] });
  expect(told(named.take())).toEqual(["a"]);
  const endpoints = new SotwPlayer("EDS", two);
  endpoints.request({ version: endpoints.set.version, names: ["a", "b"] });
  expect(told(endpoints.take())).toEqual(["a", "b"]);
});

test("W6 what is gone stays in full state until removals may go, under a version of its own", () => {
  const { player } = inSync(new SotwPlayer("CDS", two), {});
  player.change({ a: null, c: "1" });
  const first = player.take({ updates: true, removals: false });
  expect(told(first)).toEqual(["a", "b", "c"]);
  expect(first?.version).not.toBe(player.set.version);
  player.request({ nonce: first?.nonce ?? "" });
  expect(player.take({ updates: true, removals: false })).toBeUndefined();
  const second = player.take();
  expect(told(second)).toEqual(["b", "c"]);
  expect(second?.version).toBe(player.set.version);
});

test("T7 types of partial responses are split", () => {
  const player = new SotwPlayer("EDS", two);
  player.request({ names: ["a", "b"] });
  const first = player.take(undefined, 1);
  expect(told(first)).toEqual(["a"]);
  player.request({ names: ["a", "b"], nonce: first?.nonce ?? "" });
  expect(told(player.take(undefined, 1))).toEqual(["b"]);
});
