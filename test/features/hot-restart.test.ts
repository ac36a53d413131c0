/** Changes of the proxy's own processes and threads under load: nothing may be lost. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { type Asked, keepAsking } from "../support/keep-asking.ts";
import { freePort } from "../support/ports.ts";
import type { Program } from "../support/processes.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

let dir: Awaited<ReturnType<typeof temporaryDir>>;
let upstream: Upstream;
let control: ControlPlane;
let program: Program;
let adminPort: number;
let port: number;
/** While there is this file, no process of the proxy comes up. */
let stillborn: string;

beforeAll(async () => {
  dir = await temporaryDir();
  upstream = await startUpstream("one");
  port = await freePort();
  control = await ControlPlane.start(join(dir.path, "data"));
  const file = join(dir.path, "gateway.yaml");
  await writeFile(
    file,
    `
gatewayGroups:
  - name: default
    listeners: [{ name: http, protocol: http, address: 127.0.0.1, port: ${port} }]
services:
  - name: echo
    upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: ${upstream.port} }] }]
    routes: [{ name: all, paths: [/*] }]
`,
  );
  const applied = await control.sluice("apply", "-f", file);
  expect(applied.stderr).toBe("");
  stillborn = join(dir.path, "stillborn");
  const preloaded = `--import=${join(import.meta.dirname, "../support/worker-killer.ts")}`;
  const killer = { NODE_OPTIONS: preloaded, SLUICE_TEST_STILLBORN: stillborn };
  const settings = { workers: 2, data: join(dir.path, "proxy"), env: killer };
  ({ program, adminPort } = await startProxy(control.xdsPort, settings));
  await waitFor("traffic", async () => (await ask(port, { headers: { host: "a.test" } })).status === 200);
}, 900_000);

afterAll(async () => {
  await program.stop();
  await control.program.stop();
  await upstream.close();
  await dir.remove();
});

const info = async () =>
  JSON.parse((await ask(adminPort, { path: "/server_info" })).body) as { uptime_all_epochs: string };

/** A program starts with its workers in this time even where all cores are taken. */
const START_MS_MAX = 180_000;

/** How many workers have ended as they were told to, since the program had written so much. */
const endedSince = (from: number) => program.stderr.slice(from).split("worker ended; it was to").length - 1;

/** Waits until so many processes have handed over: until then one may still answer for its successor, or refuse what would change something. */
const stopped = (count: number, from: number) =>
  waitFor(
    `${count} processes to stop`,
    () => program.stderr.slice(from).split("proxy stopped").length === count + 1,
    START_MS_MAX,
  );

/** Kept-alive and new connections at once. */
const load = (): Asked[] => [keepAsking(port), keepAsking(port, { connections: 4, keepAlive: false })];

async function unload(asked: readonly Asked[]): Promise<void> {
  for (const one of asked) {
    const before = one.answered;
    await waitFor("answers after the change", () => Promise.resolve(one.answered > before + 50));
    await one.stop();
    expect(one.failures).toEqual([]);
  }
}

test("SIGHUP starts a successor that takes over without a lost request, again and again", async () => {
  const asked = load();
  for (const round of [1, 2]) {
    program.child.kill("SIGHUP");
    await waitFor(
      `successor ${round}`,
      () => Promise.resolve(program.stderr.split("the successor serves").length === round + 1),
      START_MS_MAX,
    );
    await waitFor("the process before it to stop", () =>
      Promise.resolve(program.stderr.split("proxy stopped").length === round + 1),
    );
    expect(program.exited).toBe(false);
    // What it was told about health checks is true of its successor.
    expect((await ask(adminPort, { path: "/ready" })).body).toContain(round === 1 ? "LIVE" : "DRAINING");
    await ask(adminPort, { method: "POST", path: `/healthcheck/${round === 1 ? "fail" : "ok"}` });
  }
  expect((await ask(adminPort, { path: "/ready" })).body).toContain("LIVE");
  await unload(asked);
  expect((await info()).uptime_all_epochs).toBeDefined();
}, 900_000);

test("what is asked while a successor takes over is refused, or true of the successor", async () => {
  const [serving, from] = [program.stderr.split("the successor serves").length, program.stderr.length];
  program.child.kill("SIGHUP");
  await waitFor("its start", () => program.stderr.slice(from).includes('"successor":'), START_MS_MAX);
  const failed = await ask(adminPort, { method: "POST", path: "/healthcheck/fail" });
  await waitFor("it to serve", () => program.stderr.split("the successor serves").length > serving, START_MS_MAX);
  await waitFor("the process before it to stop", () => program.stderr.slice(from).includes("proxy stopped"));
  const { body } = await ask(adminPort, { path: "/ready" });
  expect([failed.status, body]).toEqual(failed.status === 200 ? [200, "DRAINING\n"] : [503, "LIVE\n"]);
  await ask(adminPort, { method: "POST", path: "/healthcheck/ok" });
});

test("a SIGHUP that comes while a successor takes over is not forgotten", async () => {
  const count = () => program.stderr.split("the successor serves").length;
  const [before, asked, from] = [count(), load(), program.stderr.length];
  program.child.kill("SIGHUP");
  await waitFor("a successor", () => Promise.resolve(count() === before + 1), START_MS_MAX);
  program.child.kill("SIGHUP");
  await waitFor("the next one", () => Promise.resolve(count() === before + 2), START_MS_MAX);
  await unload(asked);
  expect(program.exited).toBe(false);
  await stopped(2, from);
}, 900_000);

test("the number of workers changes both ways without a lost request", async () => {
  const [asked, from] = [load(), program.stderr.length];
  const ended = (workers: number) =>
    waitFor(`${workers} workers to end`, () => endedSince(from) === workers, START_MS_MAX);
  const workers = async (count: number) => {
    expect((await ask(adminPort, { method: "POST", path: `/workers?count=${count}` })).status).toBe(200);
    const text = `server.concurrency: ${count}`;
    await waitFor(
      `${text}, all at work`,
      async () => {
        const { body } = await ask(adminPort, { path: "/stats" });
        return body.includes(text) && body.includes("listener_manager.workers_started: 1");
      },
      START_MS_MAX,
    );
  };
  for (const count of [3, 1, 2, 1, 4]) await workers(count);
  await ended(2 + 1);
  const restarted = program.stderr.length;
  program.child.kill("SIGHUP");
  await stopped(1, restarted);
  // It has the number of workers that was asked for last, not the one that the program was started with.
  expect((await ask(adminPort, { path: "/stats" })).body).toContain("server.concurrency: 4");
  await workers(2);
  await ended(2 + 1 + 2);
  await unload(asked);
  expect(program.stderr).not.toContain("what waits there is lost");
}, 900_000);

test("a worker in which something is thrown is replaced without a lost request", async () => {
  const asked = load();
  const from = program.stderr.length;
  const successor = [...program.stderr.matchAll(/"successor":(\d+)/g)].at(-1)?.[1];
  process.kill(Number(successor), "SIGUSR2");
  const crashed = /"err":\{[^}]*"killed by the test"[^\n]*"worker crashed; it is replaced"/;
  await waitFor("the crash", () => crashed.test(program.stderr.slice(from)), START_MS_MAX);
  await waitFor("its end", () => endedSince(from) === 1, START_MS_MAX);
  expect((await ask(adminPort, { path: "/stats" })).body).toContain("server.worker_crashes: 1");
  await unload(asked);
  expect(program.stderr).not.toContain("what waits there is lost");
}, 900_000);

test("a successor that does not come up leaves the process before it at work", async () => {
  const asked = load();
  const from = program.stderr.length;
  await writeFile(stillborn, "");
  program.child.kill("SIGHUP");
  const said = /"successor":\d+[^]*the successor did not come up/;
  await waitFor("the word on it", () => said.test(program.stderr.slice(from)), START_MS_MAX);
  await rm(stillborn);
  await unload(asked);
  expect(program.exited).toBe(false);
}, 900_000);
