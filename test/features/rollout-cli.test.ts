/** `sluice apply --wait` and `sluice status NODE`, as operators and pipelines see them. */
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";
import { stringify } from "yaml";

import { resourceType } from "#proto/resource-types.ts";

import { startControlPlane, testToken } from "../support/control-plane.ts";
import { aService, startRolloutRig, type RolloutRig } from "../support/rollout-rig.ts";
import { waitFor } from "../support/wait.ts";
import type { Answer } from "../support/xds-client.ts";
import { sluice, temporaryDirectory } from "./cli-harness.ts";

const directory = temporaryDirectory();
afterAll(() => directory.remove());

async function fileOf(name: string, services: readonly object[]): Promise<string> {
  const path = join(directory.path, name);
  await writeFile(path, stringify({ services }));
  return path;
}

const runOn =
  ({ plane }: RolloutRig) =>
  (...args: string[]) =>
    sluice(args, { SLUICE_SERVER: plane.url, SLUICE_TOKEN: testToken });

test("apply --wait tells when everybody has it, who refused it and why at its place in the file, and who is late", async () => {
  await using rig = await startRolloutRig();
  const run = runOn(rig);
  const path = await fileOf("gateway.yaml", [aService("pay")]);
  const alone = await run("apply", "-f", path, "--wait");
  expect(alone).toMatchObject({ code: 0, stdout: expect.stringContaining("no data plane is connected") });

  let answer: Answer = "ack";
  await rig.dataPlane("px", (type) => (type === "RDS" ? answer : "ack"));
  await fileOf("gateway.yaml", [aService("pay", "/v2")]);
  const done = await run("apply", "-f", path, "--wait");
  expect(done, done.stderr).toMatchObject({ code: 0 });
  expect(done.stdout).toMatch(/default: 1\/1 accepted +\d+(ms|\.\ds|s) p50/);
  expect(done.stdout).toContain("✓ rollout complete");

  answer = { refuse: "RDS: 1 resource refused: default: virtual_hosts[0].routes[0].match: too complex" };
  await fileOf("gateway.yaml", [aService("pay", "/v3")]);
  const refused = await run("apply", "-f", path, "--wait");
  expect(refused.code).toBe(3);
  // Line 11 is where the route begins.
  expect(refused.stderr).toMatch(
    /default\/px: service pay routes\[all\] \(.*gateway\.yaml:11\): virtual_hosts\[0\]\.routes\[0\]\.match: too complex/,
  );
  expect(refused.stderr).toMatch(/revision \d+ was applied, and refused by data planes/);

  const shown = await run("status", "px", "--type", "rds");
  expect(shown.stdout).toMatch(
    /RDS +default +[0-9a-f]{16} +[0-9a-f]{16} +REFUSED\n.*service pay routes\[all\]: virtual/,
  );
  expect(shown.stdout).toContain("NACKED");
  const data = JSON.parse((await run("status", "px", "-o", "json")).stdout) as { resources: { typeUrl: string }[] };
  expect(new Set(data.resources.map(({ typeUrl }) => typeUrl))).toContain(resourceType("CDS").typeUrl);

  const all = await run("status");
  expect(all.stdout).toMatch(
    /! default: revision \d+ is refused by data planes: 0\/1 accepted +1 refused\n.*service pay/,
  );

  answer = "none";
  await fileOf("gateway.yaml", [aService("pay", "/v4")]);
  const late = await run("apply", "-f", path, "--wait", "--timeout", "8s", "-o", "json");
  expect(late.code).toBe(4);
  expect(late.stderr).toContain("after 8s not every data plane has answered");
  expect(JSON.parse(late.stdout)).toMatchObject({ rollout: { state: "in_progress", groups: [{ nodes: 1, sent: 1 }] } });
  // That the caller left is no failure of the control plane's.
  const metrics = await fetch(`${rig.plane.url}/metrics`, { headers: { authorization: `Bearer ${testToken}` } });
  const ends = (await metrics.text()).match(/(?<=method="WatchRollout",code=")\w+/g);
  expect(ends).toContain("ok");
  expect(ends).not.toContain("internal");
});

test("apply --wait whose control plane goes away says so, and that the revision was applied", async () => {
  await using rig = await startRolloutRig();
  let answer: Answer = "ack";
  await rig.dataPlane("px", () => answer);
  answer = "none";
  const path = await fileOf("lost.yaml", [aService("pay")]);
  const waiting = runOn(rig)("apply", "-f", path, "--wait");
  await waitFor("the rollout", async () => {
    const { rollouts } = await rig.rollouts.listRollouts({});
    return rollouts.some(({ sent, accepted }) => sent > accepted);
  });
  await rig.plane.close();
  const lost = await waiting;
  expect(lost.stderr).toMatch(/revision \d+ was applied, and the control plane was lost/);
  expect(lost.code).toBe(4);
});

test("apply --wait of a control plane that begins anew behind the write says that nothing is known, and doesn't succeed", async () => {
  const dataDirectory = join(directory.path, "began-anew");
  let plane = await startControlPlane({ dataDirectory });
  const relay = createServer((asked, answered) => {
    const pass = async () => {
      if (asked.url?.endsWith("/WatchRollout")) {
        await plane.close();
        plane = await startControlPlane({ dataDirectory });
      }
      const { hostname, port } = new URL(plane.url);
      const { method, headers, url: path } = asked;
      const passed = request({ hostname, port, path, method, headers }, (answer) => {
        answered.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(answered);
      });
      asked.pipe(passed);
    };
    void pass();
  });
  relay.listen(0, "127.0.0.1");
  await once(relay, "listening");
  const env = { SLUICE_SERVER: `http://127.0.0.1:${(relay.address() as AddressInfo).port}`, SLUICE_TOKEN: testToken };
  try {
    const path = await fileOf("anew.yaml", [aService("pay")]);
    const applied = await sluice(["apply", "-f", path, "--wait"], env);
    expect(applied.stderr).toContain("nothing is known of the rollout of revision");
    expect(applied.code).toBe(4);
    // What was there before is nobody's success or failure.
    const unchanged = await sluice(["apply", "-f", path, "--wait"], env);
    expect(unchanged.stderr).toContain("nothing is known of the rollout of revision");
    expect(unchanged.code).toBe(0);
  } finally {
    relay.close();
    relay.closeAllConnections();
    await plane.close();
  }
});

test("a watch of a data plane's resources tells what changes, and that it left", async () => {
  await using rig = await startRolloutRig();
  await rig.apply({ services: [aService("pay")] });
  const stream = await rig.dataPlane("px");
  const told: string[][] = [];
  const watch = async () => {
    const request = { nodeId: "px", typeUrl: resourceType("CDS").typeUrl };
    for await (const { resources, gone } of rig.status.watchNodeResources(request)) {
      told.push([...resources.map(({ name }) => `+${name}`), ...gone.map(({ name }) => `-${name}`)]);
      if (told.length === 1) await rig.apply({ services: [aService("orders")] });
      else if (told.flat().includes("+orders/default")) stream.close();
    }
  };
  await expect(watch()).rejects.toThrow("no data plane px is connected");
  expect(told[0]).toContain("+pay/default");
  expect(told.slice(1).flat()).not.toContain("+pay/default");
  await expect(rig.status.listNodeResources({ nodeId: "nobody" })).rejects.toThrow("no data plane nobody");
});
