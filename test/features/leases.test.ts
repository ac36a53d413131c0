/** The registry of our own: what programs report gets traffic, for as long as they go on to say that they live. */
import { setTimeout as sleep } from "node:timers/promises";

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ProblemsSchema } from "#sluice/admin/v1/common_pb.ts";
import { DiscoveryService, WatchState } from "#sluice/admin/v1/discovery_service_pb.ts";
import { LeaseService } from "#sluice/discovery/v1/lease_service_pb.ts";

import { authorized } from "../support/control-plane.ts";
import { DiscoveryRig } from "../support/discovery-rig.ts";

let rig: DiscoveryRig;

beforeAll(async () => {
  rig = await DiscoveryRig.start();
  await rig.apply(`
registries:
  - { name: own, leases: {} }
  - { name: dns, dns: {} }
services:
  - name: orders
    hosts: [a.test]
    upstreams: [{ name: default, discovery: { registry: own, service: orders } }]
    routes: [{ name: all, paths: ["/*"] }]
`);
});

afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

/** Longer than a machine stands still now and then; a test has to outlast it. */
const SHORT_MS = 6_000;

const nameOf = (id: string) => ({ service: { service: "orders" }, id });

async function instance(id: string, ttlMs: number) {
  const { port } = await rig.upstream(id);
  return { name: nameOf(id), endpoint: { address: "127.0.0.1", port }, ttl: durationFromMs(ttlMs) };
}

test("what is reported answers; what leaves is gone at once; what isn't heard of expires, and what is stays", async () => {
  const leases = await rig.leases();
  const long = await leases.report({ registry: "own", instances: [await instance("one", 600_000)] });
  expect(long.heartbeatInterval).toEqual(durationFromMs(200_000));
  await rig.answers("one");

  await leases.report({ registry: "own", instances: [await instance("two", 600_000)] });
  await rig.answers("one,two");
  await leases.leave({ registry: "own", instances: [nameOf("two")] });
  await rig.answers("one");

  await leases.report({
    registry: "own",
    instances: [await instance("three", SHORT_MS), await instance("four", SHORT_MS)],
  });
  // Both are heard of until both answer, and "four" until "three" is gone.
  let alive = ["three", "four"];
  const unknownIds: string[] = [];
  const heard = (async () => {
    while (alive.length > 0 && unknownIds.length === 0) {
      const { unknown } = await leases.heartbeat({ registry: "own", instances: alive.map(nameOf) });
      unknownIds.push(...unknown.map(({ id }) => id).filter((id) => alive.includes(id)));
      await sleep(100);
    }
  })();
  try {
    await rig.answers("four,one,three");
    alive = ["four"];
    await rig.answers("four,one");
  } finally {
    alive = [];
    await heard;
  }
  expect(unknownIds).toEqual([]);
  await rig.answers("one");
  const { unknown } = await leases.heartbeat({ registry: "own", instances: [nameOf("four"), nameOf("one")] });
  expect(unknown.map(({ id }) => id)).toEqual(["four"]);
});

test("leases outlive a control plane that is killed: those who report to it go on as if nothing had happened", async () => {
  const before = await rig.leases();
  await before.report({
    registry: "own",
    instances: [await instance("one", 600_000), await instance("five", 600_000)],
  });
  await rig.answers("five,one");
  await rig.kill();
  await rig.answers("five,one");
  await rig.restart();
  const after = await rig.leases();
  const { unknown } = await after.heartbeat({ registry: "own", instances: [nameOf("five"), nameOf("one")] });
  expect(unknown).toEqual([]);
  expect((await rig.state("orders", WatchState.FRESH)).endpointCount).toBe(2);
  await after.leave({ registry: "own", instances: [nameOf("five")] });
  await rig.answers("one");
});

test("what was answered holds, though the control plane is killed in that moment: a leave, and an instance's new address", async () => {
  const leases = await rig.leases();
  const { port: newPort } = await rig.upstream("seven");
  const moving = await instance("moving", 600_000);
  await leases.report({ registry: "own", instances: [moving, await instance("leaving", 600_000)] });
  await leases.report({ registry: "own", instances: [{ ...moving, endpoint: { ...moving.endpoint, port: newPort } }] });
  await leases.leave({ registry: "own", instances: [nameOf("leaving")] });
  await rig.kill();
  await rig.restart();
  const after = await rig.leases();
  const { unknown } = await after.heartbeat({ registry: "own", instances: [nameOf("leaving"), nameOf("moving")] });
  expect(unknown.map(({ id }) => id)).toEqual(["leaving"]);
  await rig.answers("one,seven");
  await after.leave({ registry: "own", instances: [nameOf("moving")] });
  await rig.answers("one");
});

test("gRPC works as Connect does, and only with the token", async () => {
  const baseUrl = `http://127.0.0.1:${rig.control.adminPort}`;
  const six = await instance("six", 600_000);
  const anonymous = createClient(LeaseService, createGrpcTransport({ baseUrl }));
  await expect(anonymous.report({ registry: "own", instances: [six] })).rejects.toMatchObject({
    code: Code.Unauthenticated,
  });
  const interceptors = [authorized(await rig.control.token())];
  const leases = createClient(LeaseService, createGrpcTransport({ baseUrl, interceptors }));
  await leases.report({ registry: "own", instances: [six] });
  await rig.answers("one,six");
  await leases.leave({ registry: "own", instances: [nameOf("six")] });
  await rig.answers("one");
});

test("a token of the registry lets a program report its services, and do nothing else", async () => {
  const { control } = rig;
  const create = (...args: string[]) => control.sluice("discovery", "token", "create", "own", ...args);
  const { stdout } = await create("team", "--service", "orders,cart-*");
  const token = stdout.trim();
  expect(token).toMatch(/^sluice_lease_[\w-]{43}$/);
  expect((await create("team")).stderr).toContain("the registry own has a token team");
  expect((await control.sluice("discovery", "token", "list", "own")).stdout).toMatch(
    /team +default +own +orders, cart-\*/,
  );

  const as = (bearer: string) =>
    createGrpcTransport({
      baseUrl: `http://127.0.0.1:${control.adminPort}`,
      interceptors: [authorized(bearer)],
    });
  const leases = createClient(LeaseService, as(token));
  const eight = await instance("eight", 600_000);
  await leases.report({ registry: "own", instances: [eight] });
  await rig.answers("eight,one");
  expect((await leases.heartbeat({ registry: "own", instances: [nameOf("eight")] })).unknown).toEqual([]);
  const cart = { service: { service: "cart-eu" }, id: "c" };
  await leases.report({ registry: "own", instances: [{ ...eight, name: cart }] });

  const denied = { code: Code.PermissionDenied };
  const other = { service: { service: "payments" }, id: "p" };
  const mixed = [eight, { ...eight, name: other }];
  await expect(leases.report({ registry: "own", instances: mixed })).rejects.toMatchObject(denied);
  await expect(leases.heartbeat({ registry: "own", instances: [other] })).rejects.toMatchObject(denied);
  await expect(leases.leave({ registry: "own", instances: [other] })).rejects.toMatchObject(denied);
  // What there is elsewhere is not for it to know either.
  for (const registry of ["dns", "nowhere"]) {
    await expect(leases.leave({ registry, instances: [nameOf("eight")] })).rejects.toMatchObject(denied);
  }
  const nobody = { code: Code.Unauthenticated };
  await expect(createClient(DiscoveryService, as(token)).listWatchedServices({})).rejects.toMatchObject(nobody);
  const guessed = createClient(LeaseService, as(`${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`));
  await expect(guessed.leave({ registry: "own", instances: [nameOf("eight")] })).rejects.toMatchObject(nobody);

  // A gateway file names no tokens: those that there are stay.
  await rig.apply("registries: [{ name: own, leases: {} }]");
  await leases.leave({ registry: "own", instances: [nameOf("eight"), cart] });
  await rig.answers("one");
  expect((await control.sluice("discovery", "token", "delete", "own", "team")).code).toBe(0);
  await expect(leases.leave({ registry: "own", instances: [cart] })).rejects.toMatchObject(nobody);
  expect((await control.sluice("get", "all", "-o", "yaml")).stdout).not.toContain(token);
  expect(control.program.stderr + control.program.stdout).not.toContain(token);
});

test("a report that is wrong is refused whole, with every reason", async () => {
  const leases = await rig.leases();
  const good = await instance("seven", 600_000);
  const refusal = async (instances: Parameters<typeof leases.report>[0]["instances"], registry = "own") => {
    const error = (await leases
      .report({ registry, instances: instances ?? [] })
      .catch((cause) => cause)) as ConnectError;
    const [problems] = error.findDetails(ProblemsSchema);
    return { code: error.code, message: error.rawMessage, fields: problems?.problems.map(({ field }) => field) };
  };
  expect(
    await refusal([
      good,
      { name: nameOf("x"), endpoint: { address: "host.name", port: 0 } },
      { name: nameOf("y"), endpoint: { address: "10.0.0.1", port: 80, metadata: { big: "x".repeat(9_000) } } },
    ]),
  ).toMatchObject({
    code: Code.InvalidArgument,
    fields: ["instances[1].endpoint.address", "instances[1].endpoint.port", "instances[2].endpoint"],
  });
  expect(await refusal([{ ...good, ttl: durationFromMs(10) }])).toMatchObject({ fields: ["instances[0].ttl"] });
  expect(await refusal([good], "dns")).toMatchObject({ code: Code.FailedPrecondition });
  expect(await refusal([good], "nowhere")).toMatchObject({ code: Code.NotFound });
  await rig.answers("one");
});
