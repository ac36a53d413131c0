/** `sluice up` with its proxy: the file of --config decides what traffic gets. */
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { freePorts } from "../support/ports.ts";
import { waitFor } from "../support/wait.ts";
import { childrenOf, type RunningUp, sluice, startUp, temporaryDirectory, until } from "./cli-harness.ts";

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** An HTTP server that answers with its name. */
async function startUpstream(name: string): Promise<number> {
  // Kept connections that an upstream ends when they have been idle for a while would do so at any moment.
  const server = createServer({ keepAliveTimeout: 600_000 }, (_, response) => response.end(name));
  undo.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
}

const gateway = (listenerPort: number, upstreamPort: number) => `
gatewayGroups:
  - { name: default, listeners: [{ name: http, port: ${listenerPort} }] }
services:
  - name: web
    upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: ${upstreamPort} }] }]
    routes: [{ name: all, paths: [/*] }]
`;

async function start(text: string) {
  const directory = temporaryDirectory();
  undo.push(() => directory.remove());
  const config = join(directory.path, "gateway.yaml");
  const data = join(directory.path, "data");
  writeFileSync(config, text);
  // Fixed ports, since a program that starts again must be found again.
  const [admin, xds, proxyAdmin] = (await freePorts(3)).map((port) => `127.0.0.1:${port}`);
  const up: RunningUp = startUp([
    ...["--data", data, "--config", config, "--node-id", "px-1", "--workers", "1"],
    ...["--admin", admin ?? "", "--xds", xds ?? "", "--proxy-admin", proxyAdmin ?? ""],
  ]);
  undo.push(() => up.stop());
  return { up, config, data };
}

const get = (port: number) => fetch(`http://127.0.0.1:${port}/x`).then((answer) => answer.text());

test("a changed file changes traffic, a killed proxy comes back, and status knows", async () => {
  const [one, two] = [await startUpstream("one"), await startUpstream("two")];
  const [port = 0] = await freePorts(1);
  const { up, config, data } = await start(gateway(port, one));
  await up.waitFor("is up");
  await up.waitFor(`http://127.0.0.1:${port}`);
  // It says so after a while in any case.
  await waitFor("traffic", async () => (await get(port)) === "one");

  writeFileSync(config, gateway(port, two));
  await until(
    async () => (await get(port)) === "two",
    () => `traffic to the new upstream in:\n${up.output()}`,
  );

  writeFileSync(config, `${gateway(port, one)}    nodes: []\n`);
  await up.waitFor("the gateway stays as it was");
  expect(await get(port)).toBe("two");

  // What is in use may not have been acknowledged yet.
  await waitFor("the proxy to be in step", async () => {
    const status = await sluice(["status", "--data", data]);
    expect(status.stdout).toMatch(/^GROUP +PROXY +KIND +VERSION +STATE +LAST SYNC +CDS +EDS +LDS +RDS +VHDS$/m);
    expect(status.stdout).toMatch(/^default +px-1 +native +0\.1\.0 +SYNCED +\d+\w+ ago( +[0-9a-f]{8}){5}$/m);
    return true;
  });
  const details = await sluice(["status", "px-1", "--data", data]);
  expect(details.stdout).toMatch(/^LDS +1 +([0-9a-f]+) +\1 +\d+\w+ ago +-$/m);

  process.kill(childrenOf(up, "proxy")[0] ?? 0, "SIGKILL");
  await up.waitFor("the proxy was ended by SIGKILL");
  await up.waitFor("the proxy runs again");
  await waitFor("traffic", async () => (await get(port)) === "two");
  expect(await up.stop()).toBe(0);
});

test("a listener's port that is taken is told by up and by status", async () => {
  const port = await startUpstream("in the way");
  const { up, data } = await start(gateway(port, port));
  await up.waitFor("is up");
  await up.waitFor(new RegExp(`px-1 refused Listener: .*${port}`));
  const status = await sluice(["status", "--data", data]);
  expect(status.stdout).toMatch(/^default +px-1 .* NACKED /m);
  expect(status.stdout).toMatch(new RegExp(`└─ LDS: .*${port}`));
});
