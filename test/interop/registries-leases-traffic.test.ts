/** From instances that report themselves to requests, on both data planes: those that stop reporting expire, and nothing else is lost. */
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";

import { LeaseService } from "#sluice/discovery/v1/lease_service_pb.ts";

import { authorized } from "../support/control-plane.ts";
import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { ControlPlane } from "../support/gateway.ts";
import { bothAnswer } from "../support/planes-traffic.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";

const groups = ["default", "envoy"] as const;
const upstreams = new Map<string, Upstream>();
let planes: DataPlanes;
let leases: Client<typeof LeaseService>;

/** Both data planes on one service, whose one fixed node answers until instances report. */
const gateway = (group: string, port: number, fallback: number) => `
gatewayGroups:
  - name: ${group}
    listeners:
      - { name: http, protocol: http, address: 127.0.0.1, port: ${port} }
registries:
  - { name: own, gatewayGroup: ${group}, leases: {} }
services:
  - name: orders
    gatewayGroup: ${group}
    hosts: [a.test]
    upstreams:
      - { name: default, discovery: { registry: own, service: orders }, nodes: [{ host: 127.0.0.1, port: ${fallback} }] }
    routes: [{ name: all, paths: ["/*"] }]
`;

async function upstream(name: string): Promise<Upstream> {
  const found = upstreams.get(name) ?? (await startUpstream(name));
  upstreams.set(name, found);
  return found;
}

const nameOf = (id: string) => ({ service: { service: "orders" }, id });

async function connect(control: ControlPlane): Promise<Client<typeof LeaseService>> {
  const baseUrl = `http://127.0.0.1:${control.adminPort}`;
  return createClient(
    LeaseService,
    createGrpcTransport({ baseUrl, interceptors: [authorized(await control.token())] }),
  );
}

async function report(id: string, ttlMs = 600_000, weight = 1): Promise<void> {
  const { port } = await upstream(id);
  const endpoint = { address: "127.0.0.1", port, weight };
  for (const gatewayGroup of groups) {
    const instances = [{ name: nameOf(id), endpoint, ttl: durationFromMs(ttlMs) }];
    await leases.report({ gatewayGroup, registry: "own", instances });
  }
}

async function leave(id: string): Promise<void> {
  for (const gatewayGroup of groups) await leases.leave({ gatewayGroup, registry: "own", instances: [nameOf(id)] });
}

beforeAll(async () => {
  const { port: fallback } = await upstream("fallback");
  planes = await startDataPlanes((group, port) => gateway(group, port, fallback), "a.test");
  leases = await connect(planes.control);
});

afterAll(async () => {
  await planes?.stop();
  for (const each of upstreams.values()) await each.close();
});

test("what reports gets traffic, by its weight; what leaves or falls silent loses it, and the fixed node takes over", async () => {
  await bothAnswer(planes, "fallback");
  await report("one");
  await bothAnswer(planes, "one");
  await report("two");
  await bothAnswer(planes, "one,two");
  // Falls silent.
  await report("two", 2_000);
  await bothAnswer(planes, "one");
  await report("none", 600_000, 0);
  await report("three");
  await bothAnswer(planes, "one,three");
  await leave("three");
  await leave("none");
  await bothAnswer(planes, "one");
  await leave("one");
  await bothAnswer(planes, "fallback");
});

test("instances that roll under load cost no request, nor does a control plane that is killed", async () => {
  await report("roll-0");
  await bothAnswer(planes, "roll-0");
  const loads = [startSteadyLoad(planes.native.port, 4), startSteadyLoad(planes.envoy.port, 4)];
  for (let round = 1; round < 4; round++) {
    await report(`roll-${round}`);
    await bothAnswer(planes, `roll-${round - 1},roll-${round}`);
    await leave(`roll-${round - 1}`);
    await bothAnswer(planes, `roll-${round}`);
  }
  const { data, adminPort, xdsPort, program } = planes.control;
  await program.stop("SIGKILL");
  await bothAnswer(planes, "roll-3");
  const restarted = await ControlPlane.start(data, { adminPort, xdsPort });
  try {
    leases = await connect(restarted);
    for (const gatewayGroup of groups) {
      const { unknown } = await leases.heartbeat({ gatewayGroup, registry: "own", instances: [nameOf("roll-3")] });
      expect(unknown).toEqual([]);
    }
    await report("last");
    await bothAnswer(planes, "last,roll-3");
    await Promise.all(loads.map((load) => load.stop()));
    expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
    expect(Math.min(...loads.map(({ answered }) => answered))).toBeGreaterThan(50);
  } finally {
    await restarted.program.stop();
  }
});
