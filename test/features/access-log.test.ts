/** The access log in a file: one JSON object a request, and rotation without a restart. */
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";

import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

test("a rotated log goes on in a new file after POST /reopen_logs", async () => {
  await using cleanup = new AsyncDisposableStack();
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const upstream = await startUpstream("only");
  cleanup.defer(() => upstream.close());
  const plane = await ControlPlane.start(join(dir.path, "data"));
  cleanup.defer(() => plane.program.stop());
  const port = await freePort();
  const log = join(dir.path, "access.log");
  const file = join(dir.path, "gateway.yaml");
  await writeFile(
    file,
    `gatewayGroups:
  - name: default
    accessLog: { path: ${log} }
    listeners: [{ name: http, address: 127.0.0.1, port: ${port} }]
services:
  - name: only
    upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: ${upstream.port} }] }]
    routes: [{ name: all, paths: [/*] }]
`,
  );
  expect((await plane.sluice("apply", "-f", file)).stderr).toBe("");
  const proxy = await startProxy(plane.xdsPort, { workers: 2 });
  cleanup.defer(() => proxy.program.stop());
  await waitFor("traffic", async () => (await ask(port, { path: "/warm" })).status === 200);

  /** Asks, and gives the line that the log then has of it. */
  const logged = async (path: string) => {
    expect((await ask(port, { path })).status).toBe(200);
    return await waitFor(`${path} in the log`, async () =>
      // What is behind the last end of a line is still being written.
      (await readFile(log, "utf8"))
        .split("\n")
        .slice(0, -1)
        .find((line) => line.includes(path)),
    );
  };
  expect(JSON.parse(await logged("/before"))).toMatchObject({
    path: "/before",
    status: 200,
    route: "only/all",
    flags: "-",
  });
  await rename(log, `${log}.1`);
  expect((await ask(proxy.adminPort, { method: "POST", path: "/reopen_logs" })).body).toBe("OK\n");
  expect(JSON.parse(await logged("/after"))).toMatchObject({ path: "/after", status: 200 });
  expect(await readFile(log, "utf8")).not.toContain("/before");
});
