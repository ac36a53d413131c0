/** Programs whose standard output and log are files on a full disk. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { promisify } from "node:util";

import { expect, onTestFinished, test } from "vitest";

import { temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePorts } from "../support/ports.ts";
import { sluicePath } from "../support/processes.ts";
import { waitFor } from "../support/wait.ts";

/** A program that can print and log nothing. */
function startMute(...args: string[]) {
  const full = openSync("/dev/full", "w");
  const child = spawn(sluicePath, args, { stdio: ["ignore", full, full] });
  closeSync(full);
  const exited = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  return { child, exited };
}

/** A program may take so long to start where all cores are taken. */
const START_MS_MAX = 180_000;

const isUp = (port: number, path: string) => async () =>
  (await ask(port, { path }).catch(() => undefined))?.status === 200;

test("a control plane and a proxy that can print and log nothing serve", async () => {
  const dir = await temporaryDir();
  onTestFinished(() => dir.remove());
  const [admin = 0, xds = 0, proxyAdmin = 0] = await freePorts(3);
  const data = ["--data", dir.path];
  const control = startMute("control-plane", ...data, "--admin", `127.0.0.1:${admin}`, "--xds", `127.0.0.1:${xds}`);
  await waitFor("the control plane", isUp(admin, "/healthz"), START_MS_MAX);
  const proxy = startMute("proxy", ...data, "--xds", `127.0.0.1:${xds}`, "--admin", `127.0.0.1:${proxyAdmin}`);
  await waitFor("the proxy", isUp(proxyAdmin, "/ready"), START_MS_MAX);
  for (const { child, exited } of [proxy, control]) {
    child.kill("SIGTERM");
    // That its output was lost is no success; but it ended in order.
    expect(await exited).toEqual([child === control.child ? 1 : 0, null]);
  }
}, 600_000);

test("a command whose output can't be written says so, without a stack", async () => {
  const command = promisify(execFile)("sh", ["-c", '"$0" version >/dev/full', sluicePath]);
  await expect(command).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^error: what it prints can't be written: ENOSPC[^\n]*\n$/),
  });
});
