/** Two control planes on one PostgreSQL: whichever is asked knows the data planes of both. */
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ClientStatusDiscoveryService, ClientStatusRequestSchema } from "#envoy/service/status/v3/csds_pb.ts";
import { RolloutState } from "#sluice/admin/v1/rollout_service_pb.ts";
import { NodeState, ResourceState } from "#sluice/admin/v1/status_service_pb.ts";
import { RefusedRevision } from "#sluice/model/v1/gateway_group_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import { openStore } from "../../control-plane/store/open.ts";
import { authorized, testToken } from "../support/control-plane.ts";
import { callUnary } from "../support/port-client.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";
import { aService, type RolloutRig, startRolloutRig } from "../support/rollout-rig.ts";
import { waitFor } from "../support/wait.ts";
import type { Answer, RecordingDelta } from "../support/xds-client.ts";
import { sluice } from "./cli-harness.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});

/** Two replicas that know of each other. */
async function twoReplicas() {
  const storeUrl = await postgres.createDatabase();
  const one = await startRolloutRig({ storeUrl });
  const two = await startRolloutRig({ storeUrl });
  for (const rig of [one, two]) await countIs(rig, 2);
  return { one, two, storeUrl };
}

const countIs = (rig: RolloutRig, count: number) =>
  waitFor(
    `${count} control planes`,
    async () => {
      const { controlPlanes, silentControlPlanes } = await rig.status.getStatus({});
      return controlPlanes === count && silentControlPlanes.length === 0;
    },
    60_000,
  );

const stateNames = new Map<NodeState, string>(Object.entries(NodeState).map(([name, state]) => [state, name]));

const nodesOf = async (rig: RolloutRig, pageSize = 0) => {
  const ids: string[] = [];
  let pageToken = "";
  do {
    const page = await rig.status.listNodes({ pageSize, pageToken });
    ids.push(...page.nodes.map(({ id, state }) => `${id} ${stateNames.get(state)}`));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return ids;
};

test("status, resources and client status of a data plane are told by the control plane that it is not connected to", async () => {
  const { one, two } = await twoReplicas();
  await using _one = one;
  await using _two = two;
  await one.apply({ gatewayGroups: [{ name: "default" }], services: [aService("pay")] });
  await waitFor("both to serve it", async () => (await two.gateways.export({})).gateway?.services.length === 1);
  await one.dataPlane("a");
  await two.dataPlane("b");
  await one.dataPlane("c");
  const all = ["a SYNCED", "b SYNCED", "c SYNCED"];
  for (const rig of [one, two]) {
    await waitFor("all data planes", async () => (await nodesOf(rig)).join() === all.join());
    // Another control plane that takes a moment to answer is left out.
    await waitFor("all of them, page by page", async () => (await nodesOf(rig, 1)).join() === all.join());
    await waitFor("their number", async () => (await rig.status.getStatus({})).connectedNodes === 3);
  }
  const { resources } = await one.status.listNodeResources({ nodeId: "b", typeUrl: resourceType("CDS").typeUrl });
  expect(resources).toMatchObject([{ name: "pay/default", state: ResourceState.ACCEPTED }]);
  await expect(one.status.listNodeResources({ nodeId: "nobody" })).rejects.toThrow("no data plane nobody is connected");
  const csds = createClient(
    ClientStatusDiscoveryService,
    createGrpcTransport({ baseUrl: two.plane.url, interceptors: [authorized()] }),
  );
  const { fetchClientStatus } = ClientStatusDiscoveryService.method;
  for (const fetch of [
    () => csds.fetchClientStatus(create(ClientStatusRequestSchema)),
    () => callUnary(two.plane.xdsAddress, fetchClientStatus, {}),
  ]) {
    await waitFor("the client status of all", async () => {
      const ids = (await fetch()).config.map(({ node }) => node?.id ?? "");
      return [...new Set(ids)].sort().join() === "a,b,c";
    });
  }
});

test("whoever lost the database for a while knows the others again", async () => {
  const { one, two, storeUrl } = await twoReplicas();
  await using _one = one;
  await using _two = two;
  await one.apply({ gatewayGroups: [{ name: "default" }], services: [aService("pay")] });
  await one.dataPlane("a");
  await two.dataPlane("b");
  for (let time = 0; time < 3; time++) {
    await postgres.breakConnections(storeUrl);
    for (const rig of [one, two]) {
      await waitFor("all", async () => (await nodesOf(rig)).join() === "a SYNCED,b SYNCED");
      await countIs(rig, 2);
    }
  }
});

test("a rollout is over when the data planes of all control planes have answered, and tells who refused", async () => {
  const { one, two } = await twoReplicas();
  await using _one = one;
  await using _two = two;
  await one.apply({ gatewayGroups: [{ name: "default" }], services: [aService("pay")] });
  let answer: Answer = "ack";
  await one.dataPlane("a");
  const b = await two.dataPlane("b", (type) => (type === "RDS" ? answer : "ack"));
  await waitFor("both", async () => (await nodesOf(one)).join() === "a SYNCED,b SYNCED");
  answer = "none";
  const revision = await one.apply({ services: [aService("pay", "/v2")] });
  const waiting = await one.rolloutIs(revision, ({ groups }) => groups[0]?.sent === 2 && groups[0].accepted === 1);
  expect(waiting).toMatchObject({ state: RolloutState.IN_PROGRESS, connectedNodes: 2, groups: [{ nodes: 2 }] });
  const watched = one.rollouts.watchRollout({ revision })[Symbol.asyncIterator]();
  expect((await watched.next()).done).toBe(false);
  b.answer(await b.offered(), { refuse: "RDS: 1 resource refused: default: no" });
  let state: RolloutState | undefined;
  for (let told = await watched.next(); told.done !== true; told = await watched.next())
    state = told.value.rollout?.state;
  expect(state).toBe(RolloutState.REFUSED);
  for (const rig of [one, two]) {
    const rollout = await rig.rolloutIs(revision, (each) => each.state === RolloutState.REFUSED);
    expect(rollout.groups).toMatchObject([{ nodes: 2, accepted: 1, refused: 1, refusals: [{ nodeId: "b" }] }]);
    const { rollouts } = await rig.rollouts.listRollouts({});
    expect(rollouts.filter((each) => each.revision === revision)).toHaveLength(1);
  }
});

test("a control plane that lives and does not answer is named, and a rollout pends until it is known to be gone", async () => {
  const storeUrl = await postgres.createDatabase();
  await using rig = await startRolloutRig({ storeUrl });
  await rig.dataPlane("a");
  // It gives a sign of life, and is deaf.
  const deaf = await openStore({ dataDir: "", url: storeUrl }, { warn: () => {} });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => deaf.close());
  await deaf.peers.beat("deaf", 600_000);
  await waitFor(
    "it to be known",
    async () => (await rig.status.getStatus({})).silentControlPlanes.join() === "deaf",
    60_000,
  );
  const { nodes, silentControlPlanes } = await rig.status.listNodes({});
  expect([nodes.map(({ id }) => id), silentControlPlanes]).toEqual([["a"], ["deaf"]]);
  const shown = await sluice(["status"], { SLUICE_SERVER: rig.plane.url, SLUICE_TOKEN: testToken });
  expect(shown.stdout).toMatch(/one of 2\n +! deaf does not answer: its data planes are missing here/);
  const revision = await rig.apply({ services: [aService("pay")] });
  const pending = await rig.rolloutIs(revision, ({ groups }) => groups[0]?.accepted === 1);
  expect(pending).toMatchObject({ state: RolloutState.PENDING, silentControlPlanes: ["deaf"] });
  await deaf.peers.leave("deaf");
  expect((await rig.rolloutIs(revision, ({ state }) => state !== RolloutState.PENDING)).state).toBe(
    RolloutState.COMPLETE,
  );
});

/** A data plane on each replica, which accept all but routes, once told otherwise. */
async function withTrials(onRefusal: RefusedRevision = RefusedRevision.UNSPECIFIED) {
  const { one, two, storeUrl } = await twoReplicas();
  const group = { name: "default", rollout: { publishToOneFirst: true, trialTimeout: { seconds: 600n }, onRefusal } };
  await one.apply({ gatewayGroups: [group], services: [aService("pay")] });
  const answers: { now: Answer } = { now: "ack" };
  const routes = (type: string) => (type === "RDS" ? answers.now : "ack");
  const planes = { a: await one.dataPlane("a", routes), b: await two.dataPlane("b", routes) };
  for (const rig of [one, two]) {
    await waitFor("both", async () => (await nodesOf(rig)).join() === "a SYNCED,b SYNCED");
  }
  /** Writes a revision, and waits until one of them tries it. */
  const tryOut = async (path: string) => {
    const revision = await two.apply({ services: [aService("pay", path)] });
    const { groups } = await one.rolloutIs(
      revision,
      ({ state, groups: [told] }) => state === RolloutState.TRIAL && told?.trialNode !== "" && told?.sent === 1,
    );
    const tries = groups[0]?.trialNode === "a" ? "a" : "b";
    return { revision, trialNode: tries, tries: planes[tries], waits: planes[tries === "a" ? "b" : "a"] };
  };
  return { one, two, storeUrl, answers, tryOut };
}

const routesOf = (stream: RecordingDelta) => stream.held(resourceType("RDS").typeUrl).get("default")?.version;
const over: readonly RolloutState[] = [RolloutState.COMPLETE, RolloutState.REFUSED, RolloutState.HELD_BACK];
const isOver = ({ state }: { state: RolloutState }) => over.includes(state);

test("of the data planes of all control planes one tries a revision, and the others get it when that one has accepted it", async () => {
  const { one, two, storeUrl, answers, tryOut } = await withTrials();
  await using _one = one;
  await using _two = two;
  answers.now = "none";
  const { revision, tries, waits } = await tryOut("/v2");
  const before = routesOf(waits);
  // Another replica comes meanwhile: it serves what is published.
  await using three = await startRolloutRig({ storeUrl });
  const late = await three.dataPlane("late");
  expect(routesOf(late)).toBe(before);
  const offered = await tries.offered();
  answers.now = "ack";
  tries.answer(offered);
  const rollout = await two.rolloutIs(revision, isOver);
  expect(rollout.state).toBe(RolloutState.COMPLETE);
  for (const stream of [waits, late]) {
    await waitFor("the others", () => routesOf(stream) !== before && routesOf(stream) === routesOf(tries));
  }
});

test("what the one refuses reaches no data plane of any control plane, and all control planes tell so", async () => {
  const { one, two, answers, tryOut } = await withTrials(RefusedRevision.ROLL_BACK);
  await using _one = one;
  await using _two = two;
  answers.now = "none";
  const { revision, tries, waits } = await tryOut("/bad");
  const [before, seen] = [routesOf(waits), waits.responses.length];
  const offered = await tries.offered();
  answers.now = "ack";
  tries.answer(offered, { refuse: "RDS: 1 resource refused: default: no" });
  for (const rig of [one, two]) {
    const { groups } = await rig.rolloutIs(revision, isOver);
    expect(groups).toMatchObject([{ state: RolloutState.HELD_BACK, nodes: 1, refused: 1 }]);
    expect(groups[0]?.heldBack).toMatch(/^[ab] tried it first and refused it; the others keep what they had/);
  }
  // One of them takes it back, once.
  expect((await one.rolloutIs(revision + 1n, isOver)).state).toBe(RolloutState.COMPLETE);
  expect((await one.gateways.export({})).revision).toBe(revision + 1n);
  expect([routesOf(waits), waits.responses.length]).toEqual([before, seen]);
});

test("a trial whose control plane ends is taken up by another", async () => {
  const { one, two, answers, tryOut } = await withTrials();
  await using survivors = new AsyncDisposableStack();
  answers.now = "none";
  const { revision, trialNode, tries, waits } = await tryOut("/v2");
  await tries.offered();
  const before = routesOf(waits);
  const [ended, left] = trialNode === "a" ? [one, two] : [two, one];
  survivors.use(left);
  answers.now = "ack";
  await ended[Symbol.asyncDispose]();
  await waitFor("the other to try it", () => routesOf(waits) !== before);
  expect((await left.rolloutIs(revision, isOver)).state).toBe(RolloutState.COMPLETE);
});

test("a control plane that stood still while another one took its trial up does as that one found, and takes nothing back", async () => {
  const storeUrl = await postgres.createDatabase();
  await using rig = await startRolloutRig({ storeUrl });
  const other = await openStore({ dataDir: "", url: storeUrl }, { warn: () => {} });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => other.close());
  const rollout = {
    ...{ publishToOneFirst: true, trialTimeout: { seconds: 600n } },
    onRefusal: RefusedRevision.ROLL_BACK,
  };
  const alone = await rig.apply({ gatewayGroups: [{ name: "default", rollout }], services: [aService("pay")] });
  // Or the data plane would try this one, too, and owe an answer from then on.
  await rig.rolloutIs(alone, isOver);
  let answer: Answer = "ack";
  const a = await rig.dataPlane("a", (type) => (type === "RDS" ? answer : "ack"));
  await waitFor("it to be in sync", async () => (await nodesOf(rig)).join() === "a SYNCED");
  answer = "none";
  const revision = await rig.apply({ services: [aService("pay", "/v2")] });
  await rig.rolloutIs(revision, ({ groups }) => groups[0]?.trialNode === "a" && groups[0].sent === 1);
  const offered = await a.offered();
  // To the other one it is not there any more.
  const trial = { gatewayGroup: "default", holder: "other", node: "b", first: revision, last: revision };
  await other.trials.begin(trial, [], () => false);
  const published = { ...trial, state: "published", why: "" } as const;
  await other.trials.end(published);

  a.answer(offered, { refuse: "RDS: 1 resource refused: default: no" });
  await rig.rolloutIs(revision, isOver);
  expect(await other.trials.read("default")).toEqual(published);
  // Whatever was decided before this revision was done is done by the time that it is over.
  const next = await rig.apply({ gatewayGroups: [{ name: "next" }] });
  await rig.rolloutIs(next, isOver);
  const { transactions } = await rig.gateways.listChanges({ pageSize: 5 });
  expect(transactions.filter(({ actor }) => actor === "sluice rollout")).toEqual([]);
});

test.each(["another control plane", "the next one that starts"])(
  "a refused revision is rolled back by %s, if the control plane that refused it ends before it could",
  async (by) => {
    const { one, two, storeUrl, answers, tryOut } = await withTrials(RefusedRevision.ROLL_BACK);
    await using survivors = new AsyncDisposableStack();
    const store = await openStore({ dataDir: "", url: storeUrl }, { warn: () => {} });
    survivors.defer(() => store.close());
    answers.now = "none";
    const { revision, trialNode, waits } = await tryOut("/bad");
    const before = routesOf(waits);
    const [holder, other] = trialNode === "a" ? [one, two] : [two, one];
    if (by === "another control plane") survivors.use(other);
    else await other[Symbol.asyncDispose]();
    // As it is in the store when the holder has written down how the trial ended, and has done no more.
    const trial = await store.trials.read("default");
    if (trial === undefined) throw new Error("there is no trial");
    await store.trials.end({ ...trial, state: "refused", why: "it was refused" });
    await holder[Symbol.asyncDispose]();
    const left = by === "another control plane" ? other : survivors.use(await startRolloutRig({ storeUrl }));
    const { groups } = await left.rolloutIs(revision, (told) => told.groups[0]?.rolledBackBy === revision + 1n);
    expect(groups).toMatchObject([{ state: RolloutState.HELD_BACK, rolledBackBy: revision + 1n }]);
    const { gateway } = await left.gateways.export({});
    expect(gateway?.services).toMatchObject([{ name: "pay", routes: [{ paths: ["/"] }] }]);
    if (left === other) expect(routesOf(waits)).toBe(before);
  },
);

test("a control plane that ended is not waited for, and what was connected to it is known again where it comes back", async () => {
  const { one, two } = await twoReplicas();
  await using _one = one;
  await one.apply({ gatewayGroups: [{ name: "default" }], services: [aService("pay")] });
  await two.dataPlane("b");
  await waitFor("it", async () => (await nodesOf(one)).join() === "b SYNCED");
  await two[Symbol.asyncDispose]();
  await countIs(one, 1);
  expect(await nodesOf(one)).toEqual([]);
  await one.dataPlane("b");
  await waitFor("it again", async () => (await nodesOf(one)).join() === "b SYNCED");
});
