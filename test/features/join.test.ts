/** A native proxy joins its gateway group over TLS with a token, from `sluice token create` to an HTTP answer. */
import { readFile, writeFile } from "node:fs/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { Program, sluicePath } from "../support/processes.ts";
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

test.each([
  ["192.0.2.1:18000", true],
  ["127.0.0.1:1", false],
  ["[::1]:1", false],
])("a token that others could read on its way to %s is warned of: %s", async (xds, isWarnedOf) => {
  const dir = await temporaryDir();
  const args = ["proxy", "--xds", xds, "--admin", "127.0.0.1:0", "--data", dir.path, "--node-id", "px-plain"];
  const program = new Program(sluicePath, args, { env: { SLUICE_JOIN_TOKEN: "sluice_join_example" } });
  try {
    const said = () => program.stderr + program.stdout;
    // Said after it.
    await waitFor("the proxy to wait", () => said().includes("there is nothing to serve until then"));
    expect(said().includes("the join token crosses the network as plain text")).toBe(isWarnedOf);
    expect(said()).not.toContain("sluice_join_example");
  } finally {
    await program.stop();
    await dir.remove();
  }
});
