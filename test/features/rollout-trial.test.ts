/** A gateway group that publishes to one data plane first: who gets what, and what becomes of what that one refuses or doesn't answer. */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { RolloutState } from "#sluice/admin/v1/rollout_service_pb.ts";
import { LateRevision, RefusedRevision, type RolloutPolicySchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { NodeState } from "#sluice/admin/v1/status_service_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import { aService, type RolloutRig, startRolloutRig } from "../support/rollout-rig.ts";
import { waitFor } from "../support/wait.ts";
import type { Answer, RecordingDelta } from "../support/xds-client.ts";

const rds = resourceType("RDS").typeUrl;
const versionOf = (stream: RecordingDelta) => stream.held(rds).get("default")?.version;

const over: readonly RolloutState[] = [RolloutState.COMPLETE, RolloutState.REFUSED, RolloutState.HELD_BACK];
const isOver = ({ state }: { state: RolloutState }) => over.includes(state);

/** Two data planes, "a" of which is the first to be chosen and answers routes as told. */
async function twoPlanes(rig: RolloutRig, policy: MessageInitShape<typeof RolloutPolicySchema>) {
  const group = { name: "default", rollout: { publishToOneFirst: true, ...policy } };
  await rig.apply({ gatewayGroups: [group], services: [aService("pay")] });
  const answers: { a: Answer; b: Answer } = { a: "ack", b: "ack" };
  const a = await rig.dataPlane("a", (type) => (type === "RDS" ? answers.a : "ack"));
  const b = await rig.dataPlane("b", (type) => (type === "RDS" ? answers.b : "ack"));
  await waitFor("both to be in sync", async () => {
    const { nodes } = await rig.status.listNodes({});
    return nodes.length === 2 && nodes.every(({ state }) => state === NodeState.SYNCED);
  });
  return { a, b, answers };
}

test("the others get a revision only when the first has accepted it; who connects meanwhile gets the last good one", async () => {
  await using rig = await startRolloutRig();
  const { a, b, answers } = await twoPlanes(rig, { trialTimeout: { seconds: 600n } });
  const before = versionOf(b);
  answers.a = "none";
  const revision = await rig.apply({ services: [aService("pay", "/v2")] });
  const trial = await rig.rolloutIs(revision, ({ groups }) => groups[0]?.sent === 1);
  expect(trial).toMatchObject({ state: RolloutState.TRIAL, groups: [{ trialNode: "a", nodes: 1 }] });
  const late = await rig.dataPlane("c");
  expect(versionOf(late)).toBe(before);
  // Changes of other groups are not held up, and by the time that one is through, nothing of this one is.
  await rig.apply({ gatewayGroups: [{ name: "other" }] });
  expect(versionOf(b)).toBe(before);
  const offered = await a.offered();
  answers.a = "ack";
  a.answer(offered);
  const rollout = await rig.rolloutIs(revision, isOver);
  expect(rollout).toMatchObject({ state: RolloutState.COMPLETE, groups: [{ nodes: 3, accepted: 3, trialNode: "a" }] });
  await waitFor("the others", () => versionOf(b) !== before && versionOf(b) === versionOf(late));
  // The one that tried it was not sent it again.
  expect(a.responses.at(-1)?.nonce).toBe(offered.nonce);
});

test("what the first refuses, nobody else gets, and a revision that puts it right is tried and published", async () => {
  await using rig = await startRolloutRig();
  const { a, b, answers } = await twoPlanes(rig, {});
  const [before, seen] = [versionOf(b), b.responses.length];
  answers.a = { refuse: "RDS: 1 resource refused: default: virtual_hosts[0].routes[0].match: no" };
  const bad = await rig.apply({ services: [aService("pay", "/bad")] });
  const held = await rig.rolloutIs(bad, isOver);
  expect(held).toMatchObject({
    state: RolloutState.HELD_BACK,
    groups: [{ nodes: 1, refused: 1, heldBack: "a tried it first and refused it; the others keep what they had" }],
  });
  expect(held.groups[0]?.refusals[0]?.resources[0]?.objects).toMatchObject([{ name: "pay", field: "routes[all]" }]);
  answers.a = "ack";
  // It goes back to what the others have.
  await waitFor("the way back", async () => {
    const { resources } = await rig.status.listNodeResources({ nodeId: "a", typeUrl: rds });
    return resources[0]?.acceptedVersion === before && resources[0]?.sentVersion === before;
  });
  expect(b.responses).toHaveLength(seen);
  expect(versionOf(await rig.dataPlane("c"))).toBe(before);
  const same = await rig.apply({ services: [{ ...aService("pay", "/bad"), description: "the same" }] });
  expect((await rig.rolloutIs(same, isOver)).state).toBe(RolloutState.HELD_BACK);
  const good = await rig.apply({ services: [aService("pay", "/good")] });
  expect((await rig.rolloutIs(good, isOver)).state).toBe(RolloutState.COMPLETE);
  await waitFor("all to have it", () => versionOf(b) !== before && versionOf(b) === versionOf(a));
});

test("if so told, a refused revision is rolled back, once, by a revision of the system", async () => {
  await using rig = await startRolloutRig();
  const { b, answers } = await twoPlanes(rig, { onRefusal: RefusedRevision.ROLL_BACK });
  const before = versionOf(b);
  answers.a = { refuse: "no" };
  const bad = await rig.apply({ services: [aService("pay", "/bad"), aService("orders")] });
  const held = await rig.rolloutIs(bad, ({ groups }) => groups[0]?.rolledBackBy === bad + 1n);
  expect(held.state).toBe(RolloutState.HELD_BACK);
  expect((await rig.rolloutIs(bad + 1n, isOver)).state).toBe(RolloutState.COMPLETE);
  const { gateway, revision } = await rig.gateways.export({});
  expect(revision).toBe(bad + 1n);
  expect(gateway?.services).toMatchObject([{ name: "pay", routes: [{ paths: ["/"] }] }]);
  const [newest] = (await rig.gateways.listChanges({ pageSize: 1 })).transactions;
  expect(newest).toMatchObject({ revision: bad + 1n, actor: "sluice rollout" });
  expect(versionOf(b)).toBe(before);
});

test.each([
  [LateRevision.HOLD_BACK, RolloutState.HELD_BACK],
  [LateRevision.PUBLISH, RolloutState.IN_PROGRESS],
])(
  "what becomes of a revision that the first doesn't answer in time is told by on_timeout %s",
  async (onTimeout, state) => {
    await using rig = await startRolloutRig();
    const { b, answers } = await twoPlanes(rig, { onTimeout, trialTimeout: { nanos: 200_000_000 } });
    const before = versionOf(b);
    answers.a = "none";
    const revision = await rig.apply({ services: [aService("pay", "/v2")] });
    const rollout = await rig.rolloutIs(revision, ({ state: now }) => now === state);
    if (state === RolloutState.HELD_BACK) {
      expect(rollout.groups[0]?.heldBack).toContain("a tried it first and did not accept it within 0.2s");
      expect(versionOf(b)).toBe(before);
    } else await waitFor("the others to have it", () => versionOf(b) !== before);
  },
);

test("a revision that comes during a trial joins it, and one with nobody to try it goes out at once", async () => {
  await using rig = await startRolloutRig();
  const group = { name: "default", rollout: { publishToOneFirst: true } };
  const alone = await rig.apply({ gatewayGroups: [group], services: [aService("pay")] });
  expect(await rig.rolloutIs(alone, isOver)).toMatchObject({ state: RolloutState.COMPLETE, connectedNodes: 0 });
  let answer: Answer = "ack";
  const a = await rig.dataPlane("a", (type) => (type === "RDS" ? answer : "ack"));
  await waitFor("it to be in sync", async () => (await rig.status.listNodes({})).nodes[0]?.state === NodeState.SYNCED);
  answer = "none";
  const first = await rig.apply({ services: [aService("pay", "/v2")] });
  await rig.rolloutIs(first, ({ groups }) => groups[0]?.sent === 1);
  const offered = await a.offered();
  const second = await rig.apply({ services: [aService("orders")] });
  await rig.rolloutIs(second, ({ state }) => state === RolloutState.TRIAL);
  answer = "ack";
  a.answer(offered);
  const rollout = await rig.rolloutIs(first, isOver);
  expect(rollout).toMatchObject({ state: RolloutState.COMPLETE, groups: [{ firstRevision: first, revision: second }] });
});

test("endpoints that a program reports reach everybody during a trial, which the revision's own do not", async () => {
  await using rig = await startRolloutRig();
  const [cds, eds] = [resourceType("CDS").typeUrl, resourceType("EDS").typeUrl];
  const { b, answers } = await twoPlanes(rig, { trialTimeout: { seconds: 600n } });
  const upstreams = [{ name: "default", discovery: { registry: "own", service: "live" } }];
  await rig.apply({
    registries: [{ name: "own", kind: { case: "leases", value: {} } }],
    services: [{ ...aService("live"), upstreams }],
  });
  await waitFor("both to have it", () => b.held(cds).has("live/default"));
  await rig.report("own", "live", 9_000);
  await waitFor("its first endpoints", () => b.held(eds).has("live/default"));
  const [live, pay] = [b.held(eds).get("live/default")?.version, b.held(eds).get("pay/default")?.version];
  answers.a = "none";
  const revision = await rig.apply({ services: [aService("pay", "/v2", 81), aService("orders")] });
  await rig.rolloutIs(revision, ({ groups }) => groups[0]?.state === RolloutState.TRIAL);
  await rig.report("own", "live", 9_001);
  await waitFor("its other endpoints", () => b.held(eds).get("live/default")?.version !== live);
  expect(b.held(eds).get("pay/default")?.version).toBe(pay);
  expect(b.held(cds).has("orders/default")).toBe(false);
});

test("what is held stays held when the control plane starts again, be it refused or still tried", async () => {
  const dir = await mkdtemp(join(tmpdir(), "sluice-trial-"));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(dir, { recursive: true }));
  const start = () => startRolloutRig({ dataDirectory: join(dir, "data"), secretKeyFile: join(dir, "keys") });
  await writeFile(join(dir, "keys"), randomBytes(32).toString("base64"));
  let before: string | undefined;
  {
    await using rig = await start();
    const { b, answers } = await twoPlanes(rig, { trialTimeout: { seconds: 600n } });
    before = versionOf(b);
    answers.a = { refuse: "RDS: 1 resource refused: default: no" };
    const bad = await rig.apply({ services: [aService("pay", "/bad"), aService("orders")] });
    expect((await rig.rolloutIs(bad, isOver)).state).toBe(RolloutState.HELD_BACK);
  }
  {
    await using rig = await start();
    const { revision } = await rig.gateways.export({});
    const held = await rig.rolloutIs(revision, isOver);
    expect(held.state).toBe(RolloutState.HELD_BACK);
    expect(held.groups[0]?.heldBack).toBe("a tried it first and refused it; the others keep what they had");
    const late = await rig.dataPlane("late");
    expect(versionOf(late)).toBe(before);
    expect(late.held(resourceType("CDS").typeUrl).has("orders/default")).toBe(false);
    let answer: Answer = "ack";
    const a = await rig.dataPlane("a", (type) => (type === "RDS" ? answer : "ack"));
    await waitFor(
      "all in sync",
      async () => {
        const { nodes } = await rig.status.listNodes({});
        return nodes.filter(({ state }) => state === NodeState.SYNCED).length === 2;
      },
      60_000,
    );
    answer = "none";
    const next = await rig.apply({ services: [aService("pay", "/next")] });
    await rig.rolloutIs(next, ({ groups }) => groups[0]?.trialNode === "a" && groups[0].sent === 1);
    await a.offered();
    expect(versionOf(a)).not.toBe(before);
  }
  // The trial had not ended.
  await using rig = await start();
  const { revision } = await rig.gateways.export({});
  expect((await rig.rolloutIs(revision, () => true)).state).toBe(RolloutState.TRIAL);
  const first = await rig.dataPlane("first");
  const rollout = await rig.rolloutIs(revision, isOver);
  expect(rollout).toMatchObject({ state: RolloutState.COMPLETE, groups: [{ trialNode: "first" }] });
  await waitFor("it to have it", () => versionOf(first) !== before);
  expect(first.held(resourceType("CDS").typeUrl).has("orders/default")).toBe(true);
});
