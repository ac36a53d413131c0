/** The metrics of discovery say what happens to a registry and its services: found, changed, denied, away, and back. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { ControlPlane, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { ScriptedConsul } from "../support/scripted-consul.ts";
import { waitFor } from "../support/wait.ts";

const PATIENCE_MS = 60_000;

const lastAnswer = "registry_last_answer_time_seconds";

const cleanup = new AsyncDisposableStack();
let consul: ScriptedConsul;
let plane: ControlPlane;
let file: string;

beforeAll(async () => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  consul = await ScriptedConsul.start();
  cleanup.defer(() => consul[Symbol.asyncDispose]());
  plane = await ControlPlane.start(join(dir.path, "data"));
  cleanup.defer(() => plane.program.stop());
  file = join(dir.path, "gateway.yaml");
});
afterAll(() => cleanup.disposeAsync());

async function apply(...services: string[]): Promise<void> {
  const upstreams = services.map((name) => `{ name: ${name}, discovery: { registry: consul, service: ${name} } }`);
  await writeFile(
    file,
    `
registries: [{ name: consul, consul: { addresses: ["${consul.url}"] } }]
services:
  - name: s
    upstreams: [${upstreams.join(", ")}]
    routes: [{ name: all, paths: ["/*"], upstream: ${services[0]} }]
`,
  );
  expect((await plane.sluice("apply", "-f", file)).stderr).toBe("");
}

/** The registry's metrics by their names without "sluice_discovery_", those of services with their states: "services fresh". */
async function metrics(): Promise<Readonly<Record<string, number>>> {
  const { body } = await ask(plane.adminPort, { path: "/metrics" });
  const line = /^sluice_discovery_(\w+)\{gateway_group="default",registry="consul"(?:,state="(\w+)")?\} (\S+)$/gm;
  const found = [...body.matchAll(line)];
  return Object.fromEntries(
    found.map(([, name = "", state, value]) => [state === undefined ? name : `${name} ${state}`, Number(value)]),
  );
}

/** Waits until the metrics have these values among others; those that are undefined must not be there. */
const become = (expected: Readonly<Record<string, number | undefined>>) =>
  waitFor(
    JSON.stringify(expected),
    async () => {
      const now = await metrics();
      if (Object.entries(expected).every(([name, value]) => now[name] === value)) return now;
      throw new Error(JSON.stringify(now));
    },
    PATIENCE_MS,
  );

test("what is found, changes, is denied, and is no longer wanted, is counted", async () => {
  consul.setService("orders", [{ id: "one", port: 1 }]);
  consul.setService("carts", [
    { id: "one", port: 1 },
    { id: "two", port: 2 },
  ]);
  await apply("orders", "carts");
  await become({
    ...{ registry_up: 1, "services fresh": 2, "services waiting": undefined },
    ...{ endpoints: 3, events: 2, changes: 2, failures: 0 },
  });
  const answered = await waitFor("the first probe", async () => (await metrics())[lastAnswer], PATIENCE_MS);
  expect(Math.abs(answered - Date.now() / 1_000)).toBeLessThan(600);

  consul.setService("orders", [
    { id: "one", port: 1 },
    { id: "two", port: 2 },
  ]);
  await become({ endpoints: 4, events: 3, changes: 3 });
  // Said anew, and nothing else.
  consul.setService("orders", [
    { id: "one", port: 1 },
    { id: "two", port: 2 },
  ]);
  await become({ endpoints: 4, events: 4, changes: 3, failures: 0 });

  // Whoever waits is answered; the next question is denied.
  consul.denied.add("carts");
  consul.setService("carts", [
    { id: "one", port: 1 },
    { id: "two", port: 2 },
  ]);
  const denied = await become({ "services fresh": 1, "services permission_denied": 1, endpoints: 4, registry_up: 1 });
  expect(denied["failures"]).toBeGreaterThan(0);
  consul.denied.delete("carts");
  await become({ "services permission_denied": undefined });

  await apply("orders");
  await become({ "services fresh": 1, endpoints: 2, failures: 0 });
});

test("a registry that is away is down, what it said stays, and the time of its last answer goes on when it is back", async () => {
  await apply("orders");
  await become({ "services fresh": 1, endpoints: 2 });
  await consul[Symbol.asyncDispose]();
  const away = await become({ registry_up: 0, "services stale": 1, "services fresh": undefined, endpoints: 2 });
  consul = await ScriptedConsul.start(consul.port);
  consul.setService("orders", [{ id: "one", port: 1 }]);
  const back = await become({ registry_up: 1, "services fresh": 1, "services stale": undefined, endpoints: 1 });
  expect(back[lastAnswer]).toBeGreaterThan(away[lastAnswer] ?? Number.POSITIVE_INFINITY);
});
