/** What survives `kill -9`, and how the proxy lives without its control plane. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterEach, expect, test } from "vitest";

import { ServiceService } from "#sluice/admin/v1/service_service_pb.ts";

import { loadSnapshot } from "../../proxy/xds/snapshot.ts";
import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function controlPlane(data: string, ports: { adminPort?: number; xdsPort?: number } = {}): Promise<ControlPlane> {
  const started = await ControlPlane.start(data, ports);
  cleanups.push(() => started.program.stop("SIGKILL"));
  return started;
}

async function client(plane: ControlPlane) {
  const token = await plane.token();
  return createClient(
    ServiceService,
    createConnectTransport({
      baseUrl: `http://127.0.0.1:${plane.adminPort}`,
      httpVersion: "2",
      interceptors: [
        (next) => (request) => {
          request.header.set("authorization", `Bearer ${token}`);
          return next(request);
        },
      ],
    }),
  );
}

const service = (name: string) => ({ name, hosts: [`${name}.example.com`], upstreams: [], routes: [] });

test("kill -9 under writes loses none of 1,000 that were acknowledged", { timeout: 900_000 }, async () => {
  const dir = await temporaryDir();
  cleanups.push(() => dir.remove());
  const data = join(dir.path, "data");
  const acknowledged: string[] = [];
  let next = 0;
  while (acknowledged.length < 1000) {
    const plane = await controlPlane(data);
    const services = await client(plane);
    const killAt = acknowledged.length + 334;
    // Eight writers, so that the kill falls between the steps of several writes.
    const writers = Array.from({ length: 8 }, async () => {
      while (acknowledged.length < killAt) {
        const name = `s${next++}`;
        await services.createService({ service: service(name) });
        acknowledged.push(name);
      }
    });
    // Each waits for the disk.
    await waitFor("enough writes", () => acknowledged.length >= killAt, 180_000);
    const gone = plane.program.stop("SIGKILL");
    await Promise.allSettled(writers);
    await gone;
  }
  const services = await client(await controlPlane(data));
  const found = new Set<string>();
  let pageToken = "";
  do {
    const page = await services.listServices({ pageSize: 500, pageToken });
    for (const { service: listed } of page.items) found.add(listed?.name ?? "");
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(acknowledged.filter((name) => !found.has(name))).toEqual([]);
});

test("the proxy goes on without its control plane, and starts without it", async () => {
  const dir = await temporaryDir();
  cleanups.push(() => dir.remove());
  const upstream = await startUpstream("only");
  cleanups.push(() => upstream.close());
  const data = join(dir.path, "data");
  const port = await freePort();
  const plane = await controlPlane(data);
  const applied = await applyText(plane, dir.path, gatewayFile(port, upstream.port, "/old"));
  expect(applied.stderr).toBe("");
  const proxyData = join(dir.path, "proxy");
  const first = await startProxy(plane.xdsPort, { data: proxyData });
  cleanups.push(() => first.program.stop("SIGKILL"));
  const status = async (path: string) => (await ask(port, { path })).status;
  await waitFor("traffic", async () => (await status("/old")) === 200);

  await plane.program.stop("SIGKILL");
  for (let i = 0; i < 20; i++) expect(await status("/old")).toBe(200);

  // Another proxy may only take over from the disk what is there.
  await waitFor("its route on the disk", async () => {
    const loaded = await loadSnapshot(join(proxyData, "proxy/px-1.snapshot"), "default");
    return loaded.kind === "loaded" && loaded.resources.some(({ bytes }) => Buffer.from(bytes).includes("/old"));
  });
  await first.program.stop("SIGKILL");
  const second = await startProxy(plane.xdsPort, { data: proxyData });
  cleanups.push(() => second.program.stop("SIGKILL"));
  await waitFor("traffic without a control plane", async () => (await status("/old")) === 200);

  const again = await controlPlane(data, { xdsPort: plane.xdsPort });
  await applyText(again, dir.path, gatewayFile(port, upstream.port, "/new"));
  await waitFor("the change made after its return", async () => (await status("/new")) === 200);
  expect(await status("/old")).toBe(404);
});

test("a successor that no control plane answers serves by what was accepted a moment before", {
  timeout: 900_000,
}, async () => {
  const dir = await temporaryDir();
  cleanups.push(() => dir.remove());
  const upstream = await startUpstream("only");
  cleanups.push(() => upstream.close());
  const port = await freePort();
  const plane = await controlPlane(join(dir.path, "data"));
  const applied = await applyText(plane, dir.path, gatewayFile(port, upstream.port, "/old"));
  expect(applied.stderr).toBe("");
  const { program } = await startProxy(plane.xdsPort, { data: join(dir.path, "proxy") });
  cleanups.push(() => program.stop("SIGKILL"));
  const status = async (path: string) => (await ask(port, { path })).status;
  await waitFor("traffic", async () => (await status("/old")) === 200);
  await waitFor("its route on the disk", async () => {
    const loaded = await loadSnapshot(join(dir.path, "proxy/proxy/px-1.snapshot"), "default");
    return loaded.kind === "loaded" && loaded.resources.some(({ bytes }) => Buffer.from(bytes).includes("/old"));
  });

  const services = await client(plane);
  const upstreams = [{ name: "default", nodes: [{ host: "127.0.0.1", port: upstream.port }] }];
  await services.updateService({ service: { name: "only", upstreams, routes: [{ name: "one", paths: ["/new"] }] } });
  await waitFor("the change", async () => (await status("/new")) === 200);
  await plane.program.stop("SIGKILL");
  program.child.kill("SIGHUP");
  await waitFor("the successor to be alone", () => program.stderr.includes("proxy stopped"), 180_000);
  expect([await status("/new"), await status("/old")]).toEqual([200, 404]);
});

async function applyText(plane: ControlPlane, dir: string, text: string) {
  const file = join(dir, "gateway.yaml");
  await writeFile(file, text);
  return await plane.sluice("apply", "-f", file);
}

const gatewayFile = (port: number, upstreamPort: number, path: string) => `
gatewayGroups:
  - name: default
    listeners:
      - { name: http, protocol: http, address: 127.0.0.1, port: ${port} }
services:
  - name: only
    upstreams:
      - name: default
        nodes: [{ host: 127.0.0.1, port: ${upstreamPort} }]
    routes:
      - { name: one, paths: [${path}] }
`;
