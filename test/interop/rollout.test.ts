/** Publishing to one data plane first, with a native proxy and a real Envoy in one gateway group, each of them as the one that refuses. */
import { createServer } from "node:net";
import { join } from "node:path";
import { writeFile } from "node:fs/promises";

import { afterEach, expect, test } from "vitest";
import { stringify } from "yaml";

import { ControlPlane, startEnvoy, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { envoy } from "../support/tools.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

let cleanup = new AsyncDisposableStack();
afterEach(async () => {
  await cleanup.disposeAsync();
  cleanup = new AsyncDisposableStack();
});

interface Rollout {
  readonly groups: readonly { readonly heldBack?: string; readonly trialNode?: string }[];
}

test.each([
  ["native", "a-native", "b-envoy"],
  ["envoy", "b-native", "a-envoy"],
])("what the %s data plane refuses first, the other never sees", async (_, nativeId, envoyId) => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const plane = await ControlPlane.start(join(dir.path, "data"));
  cleanup.defer(() => plane.program.stop());
  const upstream = await startUpstream("here");
  cleanup.defer(() => upstream.close());
  // Somebody else has the port that the bad revision asks for.
  const taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  cleanup.defer(() => void taken.close());
  const port = (taken.address() as { port: number }).port;
  const file = join(dir.path, "gateway.yaml");
  const apply = async (listeners: readonly object[], hosts: readonly string[], ...args: readonly string[]) => {
    const service = {
      ...{ name: "pay", hosts },
      upstreams: [{ name: "default", nodes: [{ host: "127.0.0.1", port: upstream.port }] }],
      routes: [{ name: "all", paths: ["/*"] }],
    };
    const rollout = { publishToOneFirst: true, onRefusal: "roll_back", trialTimeout: "2m" };
    await writeFile(file, stringify({ gatewayGroups: [{ name: "default", listeners, rollout }], services: [service] }));
    return await plane.sluice("apply", "-f", file, ...args);
  };
  expect((await apply([], ["pay.example"])).stderr).toBe("");
  const proxy = await startProxy(plane.xdsPort, { nodeId: nativeId });
  cleanup.defer(() => proxy.program.stop());
  const theirs = await startEnvoy(await envoy(), plane.xdsPort, { nodeId: envoyId });
  cleanup.defer(() => theirs.program.stop());
  const status = async () => (await plane.sluice("status")).stdout;
  await waitFor("both to be in sync", async () => ((await status()).match(/ SYNCED /g) ?? []).length === 2, 60_000);

  const first = nativeId < envoyId ? nativeId : envoyId;
  const refused = await apply([{ name: "web", port }], ["pay.example"], "--wait", "--timeout", "2m");
  expect(refused.code, refused.stderr).toBe(3);
  expect(refused.stderr).toMatch(
    new RegExp(`default/${first}: gateway group default listeners\\[web\\] \\(.*gateway\\.yaml:\\d+\\): .*${port}`),
  );
  expect(refused.stderr).toContain(`${first} tried it first and refused it; the others keep what they had`);
  // The revision of the system puts the group back, and both are as they were.
  await waitFor("the way back", async () => !(await plane.sluice("get", "all", "-o", "yaml")).stdout.includes("web"));
  await waitFor("both to be in sync", async () => ((await status()).match(/ SYNCED /g) ?? []).length === 2, 60_000);
  const { body } = await ask(theirs.adminPort, { path: "/stats?filter=listener_manager.lds.update_rejected" });
  expect(body).toContain(`update_rejected: ${first === envoyId ? 1 : 0}`);

  // A good one passes the first and reaches the other.
  const accepted = await apply([], ["pay.example", "second.example"], "--wait", "--timeout", "2m", "-o", "json");
  expect(accepted.code, accepted.stderr).toBe(0);
  const { rollout } = JSON.parse(accepted.stdout) as { rollout: Rollout };
  expect(rollout).toMatchObject({ state: "complete", groups: [{ trialNode: first, state: "complete" }] });
});
