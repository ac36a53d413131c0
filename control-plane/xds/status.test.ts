import { expect, test } from "vitest";

import { type NodeIdentity, NodeRegistry, type StreamReport, type TypeStatus } from "./status.ts";

const identity = (id: string, gatewayGroup = "g"): NodeIdentity => ({
  id,
  gatewayGroup,
  kind: "envoy",
  version: "1.40.0",
  address: "127.0.0.1:1",
});

const type = (fields: Partial<TypeStatus> = {}): TypeStatus => ({
  typeUrl: "t",
  sentVersion: "1",
  acceptedVersion: "1",
  resources: 1,
  pending: false,
  nack: "",
  lastAckTimeMs: 5,
  lastNackTimeMs: undefined,
  missing: [],
  refusals: new Map(),
  ...fields,
});

const report = (fields: Partial<StreamReport> = {}): StreamReport => ({
  groupExists: true,
  types: [type()],
  problems: [],
  ...fields,
});

const told = (tell: () => StreamReport) => ({
  report: tell,
  outstanding: () => ({ unsent: Number.POSITIVE_INFINITY, unanswered: Number.POSITIVE_INFINITY }),
  resources: () => [],
});

test.each([
  ["synced", report()],
  ["stale", report({ types: [type({ pending: true })] })],
  ["stale", report({ types: [] })],
  ["nacked", report({ types: [type({ nack: "no", pending: true })] })],
  ["unknown_group", report({ groupExists: false })],
] as const)("a node is %s", (state, all) => {
  const nodes = new NodeRegistry();
  nodes.connect(
    identity("a"),
    told(() => all),
  );
  expect(nodes.list()[0]?.state).toBe(state);
});

test("nodes are listed by group and id", () => {
  const nodes = new NodeRegistry();
  for (const [id, group] of [
    ["b", "x"],
    ["a", "x"],
    ["c", "w"],
  ] as const)
    nodes.connect(identity(id, group), told(report));
  expect(nodes.list().map(({ id }) => id)).toEqual(["c", "a", "b"]);
});

test("a node that leaves keeps its last report, for two hours", () => {
  let now = 1_000;
  const nodes = new NodeRegistry({ now: () => now });
  const connection = nodes.connect(
    identity("a"),
    told(() => report({ types: [type({ lastAckTimeMs: 900 })] })),
  );
  now = 2_000;
  connection.close();
  connection.close(); // Twice is no harm.
  expect(nodes.list()[0]).toMatchObject({
    state: "disconnected",
    connectTimeMs: 1_000,
    disconnectTimeMs: 2_000,
    lastSyncTimeMs: 900,
    types: [type({ lastAckTimeMs: 900 })],
  });
  now += 2 * 3_600_000;
  expect(nodes.list().length).toBe(1);
  now += 1;
  expect(nodes.list()).toEqual([]);
});

test("a node that comes back is one node, and its last sync is not forgotten", () => {
  const nodes = new NodeRegistry({ now: () => 1_000 });
  nodes.connect(identity("a"), told(report)).close();
  nodes.connect(
    identity("a"),
    told(() => report({ types: [] })),
  );
  expect(nodes.list()).toMatchObject([{ state: "stale", lastSyncTimeMs: 5, disconnectTimeMs: undefined }]);
});

test("of several streams the newest speaks for a type, and the node stays until the last one ends", () => {
  const nodes = new NodeRegistry();
  const old = nodes.connect(
    identity("a"),
    told(() => report({ types: [type(), type({ typeUrl: "u" })] })),
  );
  const young = nodes.connect(
    identity("a"),
    told(() => report({ types: [type({ nack: "no" })], problems: ["p"] })),
  );
  expect(nodes.streams(identity("a"))).toBe(2);
  expect(nodes.list()).toMatchObject([{ state: "nacked", problems: ["p"], types: [{ nack: "no" }, { typeUrl: "u" }] }]);
  young.close();
  expect(nodes.list()[0]?.state).toBe("synced");
  old.close();
  expect(nodes.connectedNodes).toBe(0);
});

test("the number of nodes that have gone is bounded; the earliest are forgotten", () => {
  const nodes = new NodeRegistry({ disconnectedNodesMax: 2 });
  for (const id of ["a", "b", "c"]) nodes.connect(identity(id), told(report)).close();
  expect(nodes.list().map(({ id }) => id)).toEqual(["b", "c"]);
});

test("listeners are told once for all changes of a turn", async () => {
  const nodes = new NodeRegistry();
  let calls = 0;
  const stop = nodes.onChange(() => calls++);
  const before = nodes.generation;
  const connection = nodes.connect(identity("a"), told(report));
  connection.changed();
  connection.close();
  await new Promise(setImmediate);
  expect([calls, nodes.generation - before]).toEqual([1, 3]);
  stop();
  connection.changed();
  await new Promise(setImmediate);
  expect(calls).toBe(1);
});
