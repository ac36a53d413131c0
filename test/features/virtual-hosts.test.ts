/** Virtual hosts one by one: what a change of one service sends to the native proxy, what it answers then, and what is left of it after a crash. */
import { afterAll, beforeAll, expect, test } from "vitest";

import { loadSnapshot } from "../../proxy/xds/snapshot.ts";
import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { waitFor } from "../support/wait.ts";

const START_MS_MAX = 60_000;

const cleanup = new AsyncDisposableStack();
let dir: string;
let port: number;
let control: ControlPlane;
let proxy: Awaited<ReturnType<typeof startProxy>>;

const service = (name: string, hosts: string[], ...answers: [path: string, body: string][]) => ({
  name,
  hosts,
  routes: answers.map(([path, body], at) => ({ name: `r${at}`, paths: [path], directResponse: { status: 200, body } })),
});

const get = async (host: string, path = "/") => {
  const { status, body } = await ask(port, { path, headers: { host } });
  return status === 200 ? body : String(status);
};

const becomes = (host: string, answer: string, path?: string) =>
  waitFor(`${host} to answer ${answer}`, async () => (await get(host, path).catch(() => "")) === answer, START_MS_MAX);

const update = (value: object) => control.call("ServiceService/UpdateService", { service: value });

/** Responses sent so far, by resource type. */
async function pushes(): Promise<Record<string, number>> {
  const headers = { authorization: `Bearer ${await control.token()}` };
  const { body } = await ask(control.adminPort, { path: "/metrics", headers });
  const found = body.matchAll(/^sluice_xds_pushes_total\{type="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries(Array.from(found, ([, type = "", count]) => [type, Number(count)]));
}

beforeAll(async () => {
  const temporary = await temporaryDir();
  cleanup.defer(() => temporary.remove());
  dir = temporary.path;
  port = await freePort();
  control = await ControlPlane.start(`${dir}/data`);
  cleanup.defer(() => control.program.stop());
  const services = [service("a", ["a.test", "www.a.test"], ["/*", "a1"]), service("b", ["b.test"], ["/*", "b1"])];
  const gatewayGroups = [{ name: "default", listeners: [{ name: "http", port }] }];
  await control.call("GatewayService/Apply", { gateway: { gatewayGroups, services } });
  proxy = await startProxy(control.xdsPort, { data: `${dir}/proxy`, workers: 2 });
  cleanup.defer(() => proxy.program.stop());
  await becomes("a.test", "a1");
});

afterAll(() => cleanup.disposeAsync());

test("a service that changes sends its own virtual host, and nothing else", async () => {
  const before = await pushes();
  await update(service("b", ["b.test"], ["/*", "b2"]));
  await becomes("b.test", "b2");
  expect(await get("a.test")).toBe("a1");
  const after = await pushes();
  expect(after).toEqual({ ...before, VHDS: (before["VHDS"] ?? 0) + 1 });
});

test("a host that a second service claims moves to a virtual host of both, and back", async () => {
  await control.call("ServiceService/CreateService", { service: service("c", ["a.test"], ["/c", "c1"]) });
  await becomes("a.test", "c1", "/c");
  expect([await get("a.test"), await get("www.a.test", "/c"), await get("www.a.test")]).toEqual(["a1", "a1", "a1"]);
  await control.call("ServiceService/DeleteService", { name: "c" });
  await becomes("a.test", "a1", "/c");
});

test("status and config_dump show virtual hosts", async () => {
  await waitFor("the last change to be accepted", async () => {
    const { stdout } = await control.sluice("status", "px-1");
    if (/^VHDS +2 +([0-9a-f]+) +\1 /m.test(stdout)) return true;
    throw new Error(stdout);
  });
  const dump = await ask(proxy.adminPort, { path: "/config_dump" });
  expect(dump.body).toContain('"default/service:a"');
});

test("a proxy that is killed starts with the last change, without a control plane and with the one that comes back", async () => {
  const file = `${dir}/proxy/proxy/px-1.snapshot`;
  await update(service("b", ["b.test"], ["/*", "the third answer of b"]));
  await becomes("b.test", "the third answer of b");
  // In the first snapshot, if that was made only now; otherwise in the journal beside it.
  await waitFor("the change to be on disk", async () => {
    const loaded = await loadSnapshot(file, "default");
    if (loaded.kind !== "loaded") throw new Error(JSON.stringify(loaded));
    return loaded.resources.some(({ bytes }) => Buffer.from(bytes).includes("the third answer of b"));
  });
  await control.program.stop("SIGKILL");
  await proxy.program.stop("SIGKILL");
  proxy = await startProxy(control.xdsPort, { data: `${dir}/proxy` });
  await becomes("b.test", "the third answer of b");
  expect(await get("a.test")).toBe("a1");

  control = await ControlPlane.start(`${dir}/data`, { adminPort: control.adminPort, xdsPort: control.xdsPort });
  await update(service("b", ["b.test"], ["/*", "b4"]));
  await becomes("b.test", "b4");
  // It told what it held: none of it was sent again.
  expect(await pushes()).toMatchObject({ VHDS: expect.toSatisfy((count: number) => count <= 2) });
  await control.call("ServiceService/DeleteService", { name: "b" });
  await becomes("b.test", "404");
});
