/** A gateway group that is deleted stops no traffic: its data planes keep what they have. They wait where it is not there yet; both show as nodes of an unknown group. */
import { afterEach, expect, test } from "vitest";

import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { Program, sluicePath } from "../support/processes.ts";
import { type Echo, startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

let cleanup = new AsyncDisposableStack();
afterEach(async () => {
  await cleanup.disposeAsync();
  cleanup = new AsyncDisposableStack();
});

test("traffic goes on without its gateway group, and follows it again when it comes back", async () => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const upstreams = [await startUpstream("first"), await startUpstream("second")] as const;
  for (const upstream of upstreams) cleanup.defer(() => upstream.close());
  const plane = await ControlPlane.start(`${dir.path}/data`);
  cleanup.defer(() => plane.program.stop());
  const port = await freePort();
  const create = async (to: number) => {
    const listeners = [{ name: "http", address: "127.0.0.1", port }];
    await plane.call("GatewayGroupService/CreateGatewayGroup", { gatewayGroup: { name: "g", listeners } });
    const upstream = { name: "default", nodes: [{ host: "127.0.0.1", port: to }] };
    const service = { name: "s", gatewayGroup: "g", upstreams: [upstream], routes: [{ name: "all", paths: ["/*"] }] };
    await plane.call("ServiceService/CreateService", { service });
  };
  const answeredBy = async () => {
    const { status, body } = await ask(port);
    return status === 200 ? (JSON.parse(body) as Echo).upstream : String(status);
  };
  const state = async () => /\bp\b.*?(SYNCED|UNKNOWN.GROUP)/i.exec((await plane.sluice("status")).stdout)?.[1];

  await create(upstreams[0].port);
  const { program } = await startProxy(plane.xdsPort, { group: "g", nodeId: "p" });
  cleanup.defer(() => program.stop());
  await waitFor("traffic", async () => (await answeredBy()) === "first");

  // Both in one transaction: a service that goes first is a removal like any other.
  await plane.call("GatewayService/Apply", { gateway: { gatewayGroups: [{ name: "default" }] }, prune: true });
  await waitFor("the node to be without a group", async () => /unknown/i.test((await state()) ?? ""));
  const kept = await answeredBy();

  await create(upstreams[1].port);
  await waitFor("the new group's upstream", async () => (await answeredBy()) === "second");
  await waitFor("the node to be in step", async () => (await state()) === "SYNCED");
  expect(kept).toBe("first");
});

test("a proxy whose gateway group doesn't exist isn't ready, shows as such, and serves once the group comes", async () => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const upstream = await startUpstream("first");
  cleanup.defer(() => upstream.close());
  const plane = await ControlPlane.start(`${dir.path}/data`);
  cleanup.defer(() => plane.program.stop());
  const [port, adminPort] = [await freePort(), await freePort()];
  const program = new Program(sluicePath, [
    ...["proxy", "--xds", `127.0.0.1:${plane.xdsPort}`, "--group", "late", "--node-id", "waiting"],
    ...["--admin", `127.0.0.1:${adminPort}`, "--workers", "1", "--data", `${dir.path}/proxy`],
  ]);
  cleanup.defer(() => program.stop());
  const node = async () => /^.*\bwaiting\b.*$/m.exec((await plane.sluice("status")).stdout)?.[0] ?? "";
  await waitFor("the node to be seen", async () => /unknown group/i.test(await node()));
  expect(await ask(adminPort, { path: "/ready" })).toMatchObject({ status: 503, body: "PRE_INITIALIZING\n" });

  const listeners = [{ name: "http", address: "127.0.0.1", port }];
  await plane.call("GatewayGroupService/CreateGatewayGroup", { gatewayGroup: { name: "late", listeners } });
  const upstreams = [{ name: "default", nodes: [{ host: "127.0.0.1", port: upstream.port }] }];
  const service = { name: "s", gatewayGroup: "late", upstreams, routes: [{ name: "all", paths: ["/*"] }] };
  await plane.call("ServiceService/CreateService", { service });
  await waitFor("traffic", async () => (await ask(port)).status === 200);
  await waitFor("it to be ready", async () => (await ask(adminPort, { path: "/ready" })).status === 200);
  await waitFor("the node to be in step", async () => (await node()).includes("SYNCED"));
});
