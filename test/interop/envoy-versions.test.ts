/**
 * What a control plane does to an Envoy in its life, with each Envoy that is supported: it joins over TLS with a token, serves, follows
 * changes without a failed request, and outlives its control plane.
 */
import { readFile, writeFile } from "node:fs/promises";

import { afterEach, expect, test } from "vitest";

import { ControlPlane, startEnvoy } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { startSecurePlane } from "../support/secure-plane.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { envoy } from "../support/tools.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

let cleanup = new AsyncDisposableStack();
afterEach(async () => {
  await cleanup.disposeAsync();
  cleanup = new AsyncDisposableStack();
});

test.each(["1.36.4", "1.38.3", "1.40.0"])("Envoy %s", async (version) => {
  const { plane, port, file, args, serverArgs, token } = await startSecurePlane(cleanup);
  const { program, adminPort } = await startEnvoy(await envoy(version), plane.xdsPort, { nodeId: "e", args });
  cleanup.defer(() => program.stop());
  const served = async () => (await ask(port, { path: "/" })).body;
  await waitFor("the first answer", async () => (await ask(port, { path: "/" })).status === 200);
  const line = async (of: ControlPlane = plane) =>
    (await of.sluice("status")).stdout.split("\n").find((each) => each.includes(" e ")) ?? "";
  await waitFor("the node to be in step", async () => (await line()).includes(" SYNCED"));
  const { body: dump } = await ask(adminPort, { path: "/config_dump" });
  expect(dump).toContain("[redacted]");
  expect(dump).not.toContain(token);

  // Endpoints, routes and services change under load, and no request fails.
  const load = startSteadyLoad(port, 4);
  const before = await readFile(file("gateway.yaml"), "utf8");
  const other = await startUpstream("other");
  cleanup.defer(() => other.close());
  const moved = before.replace(/host: 127\.0\.0\.1, port: \d+/, `host: 127.0.0.1, port: ${other.port}`);
  for (const text of [
    moved,
    // Another cluster, the routes to it, and the old one's removal: make before break.
    moved
      .replaceAll("name: default, nodes", "name: second, nodes")
      .replace("paths: [/*]", "paths: [/*], upstream: second"),
    moved,
  ]) {
    await writeFile(file("gateway.yaml"), text);
    const applied = await plane.sluice("apply", "-f", file("gateway.yaml"), "--prune", "--wait", "--timeout", "2m");
    expect(applied).toMatchObject({ code: 0 });
  }
  await waitFor("the other upstream", async () => (await served()).includes('"other"'));

  // A control plane that goes and comes back is found again, and sends nothing that is held already.
  const updates = async () => {
    const { body } = await ask(adminPort, { path: "/stats?filter=(cds|lds).update_success$" });
    return body;
  };
  const held = await updates();
  await plane.program.stop();
  const again = await ControlPlane.start(plane.data, {
    adminPort: plane.adminPort,
    xdsPort: plane.xdsPort,
    args: serverArgs,
  });
  cleanup.defer(() => again.program.stop());
  await waitFor("Envoy to come back", async () => (await line(again)).includes(" SYNCED"));
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(load.answered).toBeGreaterThan(0);
  // The answer to the first request of each type, which is empty (D10), and no other.
  const count = (text: string) => [...text.matchAll(/: (\d+)/g)].reduce((sum, [, value]) => sum + Number(value), 0);
  expect(count(await updates()) - count(held)).toBeLessThanOrEqual(2);
  const { body: rejected } = await ask(adminPort, { path: "/stats?filter=update_rejected$" });
  expect(count(rejected)).toBe(0);
});
