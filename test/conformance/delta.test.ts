/** Delta ADS as a stranger meets it: first sync, changes, refusals, stalls, reconnects. */
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { servedType } from "#proto/resource-types.ts";

import type { RecordingDelta } from "../support/xds-client.ts";
import { clusterOf, namesIn, reason, type Running, service, startRunning } from "./running.ts";

const CDS = servedType("CDS").typeUrl;
const EDS = servedType("EDS").typeUrl;
const LDS = servedType("LDS").typeUrl;
const RDS = servedType("RDS").typeUrl;

let running: Running;
beforeAll(async () => {
  running = await startRunning(["a", "b"]);
});
afterAll(() => running[Symbol.asyncDispose]());

/** The address of a cluster's only instance, as the client holds it. */
function instanceOf(client: RecordingDelta, cluster: string): string | undefined {
  const held = client.held(EDS).get(cluster);
  const assignment = held && fromBinary(ClusterLoadAssignmentSchema, held.bytes);
  const host = assignment?.endpoints[0]?.lbEndpoints[0]?.hostIdentifier;
  const address = host?.case === "endpoint" ? host.value.address?.address : undefined;
  return address?.case === "socketAddress" ? address.value.address : undefined;
}

test("T1 D1 D13 later requests need no node; each response has its nonce and version, each resource its name", async () => {
  const client = running.delta();
  client.send({ typeUrl: CDS });
  client.send({ typeUrl: LDS });
  client.send({ typeUrl: EDS, resourceNamesSubscribe: [clusterOf("a"), clusterOf("b")] });
  await client.until(() => client.responses.length >= 3);
  expect(new Set(client.responses.map(({ nonce }) => nonce)).size).toBe(client.responses.length);
  for (const { nonce, systemVersionInfo, resources } of client.responses) {
    expect([nonce, systemVersionInfo]).not.toContain("");
    for (const { name, version } of resources) expect([name, version]).not.toContain("");
  }
});

test("T1 a node that changes its id ends the stream", async () => {
  const client = running.delta();
  client.send({ typeUrl: CDS });
  await client.next();
  client.send({ typeUrl: LDS, node: { id: "somebody else", cluster: "default" } });
  expect(reason(await client.end())).toMatch(/^INVALID_ARGUMENT: node\.id/);
});

test("D3 D4 D7 D8 what is asked for again is told again, what isn't there is removed, and what is left stays unknown", async () => {
  const client = running.delta();
  const [a, b] = [clusterOf("a"), clusterOf("b")];
  client.send({ typeUrl: EDS, resourceNamesSubscribe: [a] });
  expect(namesIn(await client.next())).toEqual([a]);
  client.send({ typeUrl: EDS, resourceNamesSubscribe: [a, "nobody"] });
  const again = await client.next();
  expect([namesIn(again), again.removedResources]).toEqual([[a], ["nobody"]]);
  // Without an answer: nothing is asked for; then what is asked for comes next.
  client.send({ typeUrl: EDS, resourceNamesUnsubscribe: [a] });
  client.send({ typeUrl: EDS, resourceNamesSubscribe: [b, a], resourceNamesUnsubscribe: [a] });
  expect(namesIn(await client.next())).toContain(b);
  const all = running.delta();
  all.send({ typeUrl: CDS, resourceNamesSubscribe: ["*"] });
  await all.next();
  all.send({ typeUrl: CDS, resourceNamesUnsubscribe: [a, "nobody"] });
  const left = await all.next();
  expect([namesIn(left), left.removedResources]).toEqual([[a], ["nobody"]]);
});

test("D3 who asks for everything is told everything, what it has by name or by an earlier wildcard too", async () => {
  const client = running.delta();
  const [a, b] = [clusterOf("a"), clusterOf("b")];
  const told = async (name: string) => {
    client.send({ typeUrl: EDS, resourceNamesSubscribe: [name] });
    return namesIn(await client.next());
  };
  expect([await told(a), await told("*"), await told("*")]).toEqual([[a], [a, b], [a, b]]);
});

test("D2 D15 a stale nonce and locators do no harm", async () => {
  const client = running.delta();
  client.send({ typeUrl: CDS });
  await client.next();
  client.send({
    typeUrl: CDS,
    responseNonce: "never sent",
    resourceNamesSubscribe: [clusterOf("b")],
    resourceLocatorsUnsubscribe: [{ name: "x" }],
  });
  expect(namesIn(await client.next())).toEqual([clusterOf("b")]);
});

test("W1 W4 W6 a service that comes and goes: clusters before the routes to them, and their removal after all", async () => {
  const client = running.delta();
  client.send({ typeUrl: CDS });
  client.send({ typeUrl: LDS });
  client.send({ typeUrl: RDS, resourceNamesSubscribe: ["default"] });
  client.send({ typeUrl: EDS, resourceNamesSubscribe: [clusterOf("c"), clusterOf("a"), clusterOf("b")] });
  await client.until(() => [CDS, LDS, RDS, EDS].every((typeUrl) => client.held(typeUrl).size > 0));
  /** The types of what came since, without endpoints, which wait for nothing. */
  const since = (from: number) =>
    client.responses.slice(from).flatMap(({ typeUrl }) => (typeUrl === EDS ? [] : [typeUrl]));
  let from = client.responses.length;
  await running.apply([service("c")]);
  await client.until(() => since(from).length === 2);
  expect(since(from)).toEqual([CDS, RDS]);
  expect([...client.held(CDS).keys()]).toContain(clusterOf("c"));
  from = client.responses.length;
  await running.apply([service("a"), service("b")], true);
  await client.until(() => since(from).length === 2);
  expect(since(from)).toEqual([RDS, CDS]);
  expect([...client.held(CDS).keys()].sort()).toEqual([clusterOf("a"), clusterOf("b")]);
});

test("D14 D12 one response at a time: while it is unanswered, changes are coalesced; what was refused is not said again", async () => {
  let answer: "none" | "ack" | { refuse: string } = "none";
  const client = running.delta({ answer: () => answer });
  const cluster = clusterOf("a");
  client.send({ typeUrl: EDS, resourceNamesSubscribe: [cluster] });
  const first = await client.next();
  for (let instance = 2; instance < 30; instance++) await running.apply([service("a", instance)]);
  const other = running.delta({ node: { id: "quick", cluster: "default" } });
  other.send({ typeUrl: EDS, resourceNamesSubscribe: [cluster] });
  await other.until(() => instanceOf(other, cluster) === "192.0.2.29");
  expect(client.responses).toHaveLength(1);
  answer = { refuse: "I do not like it" };
  client.answer(first);
  const second = await client.next();
  answer = "ack";
  // Refused again, and again: silence, until there is something else.
  for (let again = 0; again < 20; again++) client.answer(second, { refuse: "still not" });
  await running.apply([service("a", 77)]);
  await client.until(() => instanceOf(client, cluster) === "192.0.2.77");
  expect(client.responses).toHaveLength(3);
  await running.apply([service("a")]);
});
