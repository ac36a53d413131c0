/** What becomes of a revision: from an admin write to what every data plane answered, and back to what the operator wrote. */
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";

import { RolloutState } from "#sluice/admin/v1/rollout_service_pb.ts";

import { ask } from "../support/http.ts";
import { aService, startRolloutRig } from "../support/rollout-rig.ts";
import type { Answer } from "../support/xds-client.ts";

const isOver = ({ state }: { state: RolloutState }) =>
  state !== RolloutState.PENDING && state !== RolloutState.IN_PROGRESS && state !== RolloutState.TRIAL;

test("a revision is complete when every data plane that it concerns has accepted it, and says how long that took", async () => {
  await using rig = await startRolloutRig();
  await rig.apply({ services: [aService("pay")] });
  await rig.dataPlane("one");
  await rig.dataPlane("two");
  const revision = await rig.apply({ services: [aService("pay", "/v2")] });
  const rollout = await rig.rolloutIs(revision, isOver);
  expect(rollout).toMatchObject({ revision, state: RolloutState.COMPLETE, connectedNodes: 2 });
  expect(rollout.groups).toMatchObject([
    { gatewayGroup: "default", firstRevision: revision, revision, nodes: 2, sent: 2, accepted: 2, refused: 0, left: 0 },
  ]);
  const [group] = rollout.groups;
  // Only the routes differ.
  expect(group?.resources).toBe(1);
  expect(group?.acceptTimeP50).toBeDefined();
  expect(group?.endTime).toBeDefined();
  const metrics = await ask(Number(rig.plane.adminAddress.split(":")[1]), { path: "/metrics" });
  expect(metrics.body.toString()).toMatch(/sluice_rollouts_total\{result="complete"\} [1-9]/);
  expect(metrics.body.toString()).toMatch(/sluice_rollout_duration_seconds_count [1-9]/);
});

test("a revision that changes nothing for data planes is complete at once, and so is one that nobody is there for", async () => {
  await using rig = await startRolloutRig();
  const alone = await rig.apply({ services: [aService("pay")] });
  expect(await rig.rolloutIs(alone, isOver)).toMatchObject({ state: RolloutState.COMPLETE, connectedNodes: 0 });
  await rig.dataPlane("one", () => "ack");
  const revision = await rig.apply({ services: [{ ...aService("pay"), description: "of no concern to anybody" }] });
  const rollout = await rig.rolloutIs(revision, isOver);
  expect(rollout).toMatchObject({ state: RolloutState.COMPLETE, connectedNodes: 1 });
  expect(rollout.groups).toMatchObject([{ nodes: 0, resources: 0 }]);
});

test("data planes that don't answer are waited for; who comes meanwhile joins, and who leaves is told of", async () => {
  await using rig = await startRolloutRig();
  await rig.apply({ services: [aService("pay")] });
  let answer: Answer = "ack";
  const slow = await rig.dataPlane("slow", () => answer);
  await rig.dataPlane("quick");
  answer = "none";
  const revision = await rig.apply({ services: [aService("pay", "/v2")] });
  await rig.rolloutIs(revision, ({ groups }) => groups[0]?.sent === 2 && groups[0].accepted === 1);
  await rig.dataPlane("late");
  const waiting = await rig.rolloutIs(revision, ({ groups }) => groups[0]?.accepted === 2);
  expect(waiting.state).toBe(RolloutState.IN_PROGRESS);
  slow.close();
  const rollout = await rig.rolloutIs(revision, isOver);
  expect(rollout).toMatchObject({ state: RolloutState.COMPLETE, groups: [{ nodes: 3, accepted: 2, left: 1 }] });
});

test("a data plane that accepted, and comes back without it, has it to accept again", async () => {
  await using rig = await startRolloutRig();
  await rig.apply({ services: [aService("pay")] });
  let answer: Answer = "ack";
  const slow = await rig.dataPlane("slow", () => answer);
  const quick = await rig.dataPlane("quick");
  answer = "none";
  const revision = await rig.apply({ services: [aService("pay", "/v2")] });
  await rig.rolloutIs(revision, ({ groups }) => groups[0]?.accepted === 1);
  quick.close();
  let answerOfRoutes: Answer = "none";
  const again = await rig.dataPlane("quick", (type) => (type === "RDS" ? answerOfRoutes : "ack"));
  await rig.rolloutIs(revision, ({ groups }) => groups[0]?.accepted === 0);
  answer = "ack";
  slow.answer(await slow.offered());
  const waiting = await rig.rolloutIs(revision, ({ groups }) => groups[0]?.accepted === 1);
  expect(waiting.state).toBe(RolloutState.IN_PROGRESS);
  answerOfRoutes = "ack";
  again.answer(await again.offered());
  const rollout = await rig.rolloutIs(revision, isOver);
  expect(rollout).toMatchObject({ state: RolloutState.COMPLETE, groups: [{ nodes: 2, accepted: 2 }] });
});

test("a watch tells a rollout until it is over", async () => {
  await using rig = await startRolloutRig();
  await rig.apply({ services: [aService("pay")] });
  let answer: Answer = "ack";
  const stream = await rig.dataPlane("one", () => answer);
  answer = "none";
  const revision = await rig.apply({ services: [aService("pay", "/v2")] });
  const states: (RolloutState | undefined)[] = [];
  for await (const { rollout } of rig.rollouts.watchRollout({ revision })) {
    if (states.at(-1) !== rollout?.state) states.push(rollout?.state);
    if (rollout?.groups[0]?.sent === 1 && answer === "none") {
      const offered = await stream.offered();
      answer = "ack";
      stream.answer(offered);
    }
  }
  expect(states.at(-1)).toBe(RolloutState.COMPLETE);
  expect(states).toContain(RolloutState.IN_PROGRESS);
  await expect(rig.rollouts.getRollout({ revision: revision + 1n })).rejects.toMatchObject({ code: Code.OutOfRange });
});

test("what is refused is traced back to the route that the operator wrote, by place and by name", async () => {
  await using rig = await startRolloutRig();
  await rig.apply({ services: [aService("pay"), aService("orders")] });
  let answer: Answer = "ack";
  await rig.dataPlane("native", (type) => (type === "RDS" ? answer : "ack"));
  // In the native proxy's words: the second virtual host is that of "pay", and its first route "all".
  answer = { refuse: "RDS: 1 resource refused: default: virtual_hosts[1].routes[0].match: too complex" };
  const first = await rig.apply({ services: [aService("orders", "/v2")] });
  const byPlace = await rig.rolloutIs(first, isOver);
  expect(byPlace).toMatchObject({ state: RolloutState.REFUSED, groups: [{ refused: 1, accepted: 0 }] });
  const refused = byPlace.groups[0]?.refusals[0]?.resources[0];
  expect(refused).toMatchObject({ name: "default", reason: "virtual_hosts[1].routes[0].match: too complex" });
  const [place] = refused?.objects ?? [];
  expect(place).toMatchObject({ kind: "service", gatewayGroup: "default", field: "routes[all]" });
  expect(["pay", "orders"]).toContain(place?.name);
  // In Envoy's.
  answer = { refuse: "Only unique values for domains are permitted. Duplicate entry of domain orders.example" };
  const second = await rig.apply({ services: [aService("pay", "/v2")] });
  const byName = await rig.rolloutIs(second, isOver);
  expect(byName.groups[0]?.refusals[0]?.resources[0]?.objects).toMatchObject([{ kind: "service", name: "orders" }]);
  // A text that tells nothing leaves what the revision changed.
  answer = { refuse: "no" };
  const third = await rig.apply({ services: [aService("pay", "/v3")] });
  const byChange = await rig.rolloutIs(third, isOver);
  expect(byChange.groups[0]?.refusals[0]?.resources[0]?.objects).toMatchObject([{ kind: "service", name: "pay" }]);
  const metrics = await ask(Number(rig.plane.adminAddress.split(":")[1]), { path: "/metrics" });
  expect(metrics.body.toString()).toContain('sluice_refused_objects_total{kind="service"} 3');
});

test("clusters, listeners and certificates that are refused lead to upstreams, listeners and certificates", async () => {
  await using rig = await startRolloutRig();
  await rig.apply({ services: [aService("pay"), aService("orders")] });
  let refuse: { type: string; text: string } | undefined;
  await rig.dataPlane("envoy", (type) => (refuse?.type === type ? { refuse: refuse.text } : "ack"));
  const objectsOf = async (revision: bigint) => {
    const { groups } = await rig.rolloutIs(revision, isOver);
    return groups[0]?.refusals.flatMap(({ resources }) => resources.flatMap(({ objects }) => objects)) ?? [];
  };
  refuse = { type: "CDS", text: "Error adding/updating cluster(s) pay/default: no" };
  const changed = (name: string) => ({
    ...aService(name),
    upstreams: [{ ...aService(name).upstreams[0], timeouts: { connect: { seconds: 3n } } }],
  });
  const both = await rig.apply({ services: [changed("pay"), changed("orders")] });
  expect(await objectsOf(both)).toMatchObject([{ kind: "service", name: "pay", field: "upstreams[default]" }]);
  refuse = { type: "LDS", text: "Error adding/updating listener(s) web: secret certificate/shop is of no use" };
  const listener = await rig.apply({
    gatewayGroups: [{ name: "default", listeners: [{ name: "web", port: 9080 }] }],
  });
  expect(await objectsOf(listener)).toMatchObject([
    { kind: "gateway_group", name: "default", field: "listeners[web]" },
    { kind: "certificate", name: "shop" },
  ]);
});
