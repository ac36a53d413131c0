import { beforeEach, expect, test } from "vitest";

import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import { type Request, Subscriptions } from "./subscriptions.ts";

const url = (shortName: ResourceType["shortName"]) => resourceType(shortName).typeUrl;

let subscriptions: Subscriptions;

beforeEach(() => {
  subscriptions = new Subscriptions();
  wanted = new Map();
});

/** A request in short: "CDS +* -x {a=1}". */
function short(request: Request | undefined): string | undefined {
  if (request === undefined) return undefined;
  const name = (["CDS", "EDS", "LDS", "RDS", "VHDS"] as const).find((one) => url(one) === request.typeUrl);
  const versions = Object.entries(request.initialVersions).map(([key, version]) => `${key}=${version}`);
  return [
    name,
    ...request.subscribe.map((one) => `+${one}`),
    ...request.unsubscribe.map((one) => `-${one}`),
    ...(versions.length > 0 ? [`{${versions.join(" ")}}`] : []),
    ...(request.nonce === "" ? [] : [`nonce=${request.nonce}`]),
    ...(request.error === undefined ? [] : [`error=${request.error}`]),
  ].join(" ");
}

const open = () => subscriptions.open().map(short);

let wanted: Map<string, readonly string[]>;

/** These names, and no others, are needed from now on. */
function want(shortName: "EDS" | "RDS" | "VHDS", ...names: string[]): string | undefined {
  const before = wanted.get(shortName) ?? [];
  wanted.set(shortName, names);
  const added = names.filter((name) => !before.includes(name));
  const removed = before.filter((name) => !names.includes(name));
  return short(subscriptions.want(url(shortName), { added, removed }));
}

test("a first stream asks for all clusters and listeners, and for nothing by name", () => {
  expect(open()).toEqual(["CDS +*", "LDS +*"]);
});

test("names are subscribed to once, and given up when they are not needed any more", () => {
  open();
  expect(want("EDS", "a", "b")).toBe("EDS +a +b");
  expect(want("EDS", "a", "b")).toBeUndefined();
  expect(want("EDS", "b", "c")).toBe("EDS +c -a");
  expect(want("EDS")).toBe("EDS -b -c");
});

test("D2 a request of its own carries no nonce; an ACK and a NACK carry the response's", () => {
  open();
  expect(subscriptions.want(url("EDS"), { added: ["a"], removed: [] })?.nonce).toBe("");
  expect(short(subscriptions.answer(url("CDS"), "n1", undefined))).toBe("CDS nonce=n1");
  expect(short(subscriptions.answer(url("CDS"), "n2", "bad"))).toBe("CDS nonce=n2 error=bad");
});

test("W8 D9 a new stream names all again, and what is held with its version", () => {
  open();
  want("EDS", "a", "b");
  want("RDS", "r");
  subscriptions.accept(url("CDS"), "a", "1");
  subscriptions.accept(url("EDS"), "a", "2");
  subscriptions.close();
  expect(open()).toEqual(["CDS +* {a=1}", "EDS +a +b {a=2}", "LDS +*", "RDS +r"]);
});

test("D9 versions go with the first request of a type only", () => {
  open();
  want("EDS", "a");
  subscriptions.accept(url("EDS"), "a", "1");
  expect(want("EDS", "a", "b")).toBe("EDS +b");
});

test("without a stream a wish waits for the next one", () => {
  expect(want("EDS", "a")).toBeUndefined();
  expect(open()).toEqual(["CDS +*", "EDS +a", "LDS +*"]);
  subscriptions.close();
  expect(want("EDS", "b")).toBeUndefined();
  expect(open()).toEqual(["CDS +*", "EDS +b", "LDS +*"]);
});

test("D3 what was given up is not held, so that it comes in full when it is wanted again", () => {
  open();
  want("EDS", "a");
  subscriptions.accept(url("EDS"), "a", "1");
  want("EDS");
  want("EDS", "a");
  subscriptions.close();
  expect(open()).toEqual(["CDS +*", "EDS +a", "LDS +*"]);
});

test("D4 a name that doesn't exist stays subscribed", () => {
  open();
  want("RDS", "r");
  subscriptions.forget(url("RDS"), "r");
  expect(want("RDS", "r")).toBeUndefined();
});
