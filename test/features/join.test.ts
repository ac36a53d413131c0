/** A native proxy joins its gateway group over TLS with a token, from `sluice token create` to an HTTP answer. */
import { readFile, writeFile } from "node:fs/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { startProxy } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { startSecurePlane } from "../support/secure-plane.ts";
import { waitFor } from "../support/wait.ts";

const cleanup = new AsyncDisposableStack();
let secure: Awaited<ReturnType<typeof startSecurePlane>>;

beforeAll(async () => {
  secure = await startSecurePlane(cleanup);
});
afterAll(() => cleanup.disposeAsync());

/** The line of a node in `sluice status`. */
const stateOf = async (node: string) =>
  (await secure.plane.sluice("status")).stdout.split("\n").find((line) => line.includes(` ${node} `)) ?? "";

test("the token is shown once, kept nowhere, and its hash is all that the control plane has", async () => {
  const { plane, token } = secure;
  expect(token).toMatch(/^sluice_join_[\w-]{43}$/);
  expect((await plane.sluice("token", "list")).stdout).toMatch(/^NAME +GROUP\nfirst +default\n$/);
  expect((await plane.sluice("get", "all", "-o", "yaml")).stdout).not.toContain(token);
  expect((await plane.sluice("token", "create", "first")).stderr).toContain("has a join token first");
  expect((await plane.sluice("token", "delete", "other")).stderr).toContain("has no join token other");
});

test("a proxy with the token serves; once the token is deleted it is cut off, goes on serving, and joins again with another", async () => {
  const { plane, port, file, args, token } = secure;
  const { program } = await startProxy(plane.xdsPort, { nodeId: "px", args });
  cleanup.defer(() => program.stop());
  await waitFor("the first answer", async () => (await ask(port, { path: "/" })).status === 200);
  const deleted = await plane.sluice("token", "delete", "first");
  expect(deleted).toMatchObject({ code: 0, stderr: expect.stringContaining("default has no join token left") });
  await waitFor("the proxy to be cut off", async () => (await stateOf("px")).includes("DISCONNECTED"));
  expect((await ask(port, { path: "/" })).status).toBe(200);

  const { stdout, stderr } = await plane.sluice("token", "create", "second");
  expect(stderr).toContain("from now on data planes join default with a join token");
  await writeFile(file("token"), stdout);
  await waitFor("the proxy to come back", async () => (await stateOf("px")).includes(" SYNCED"));
  expect(program.stderr).not.toContain(token);
  expect(plane.program.stderr + plane.program.stdout).not.toContain(token);
  expect(await readFile(file("token"), "utf8")).not.toContain(token);
});
