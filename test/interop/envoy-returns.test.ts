/**
 * An Envoy in state of the world whose control plane was away while a cluster was replaced (S16, W1, W6): it tells no more than a version when it
 * comes back, and loses the cluster that went only once its routes have moved.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";

import { ControlPlane, startEnvoy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { envoy } from "../support/tools.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const WAIT_MS_MAX = 60_000;

/** How often it goes; what is tried for is a matter of milliseconds. */
const ROUNDS = 3;

test("S16 W1 W6 a cluster that was replaced while the control plane was away costs no request", async () => {
  await using cleanup = new AsyncDisposableStack();
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const [data, file, port] = [join(dir.path, "data"), join(dir.path, "gateway.yaml"), await freePort()];
  const upstream = await startUpstream("only");
  cleanup.defer(() => upstream.close());
  const use = async (to: ControlPlane, cluster: string) => {
    await writeFile(
      file,
      `gatewayGroups:
  - name: default
    listeners: [{ name: http, address: 127.0.0.1, port: ${port} }]
services:
  - name: only
    upstreams: [{ name: ${cluster}, nodes: [{ host: 127.0.0.1, port: ${upstream.port} }] }]
    routes: [{ name: all, paths: [/*], upstream: ${cluster} }]
`,
    );
    expect(await to.sluice("apply", "-f", file)).toMatchObject({ code: 0, stderr: "" });
  };
  let plane = await ControlPlane.start(data);
  cleanup.defer(() => plane.program.stop());
  const { adminPort: admin, xdsPort } = plane;
  await use(plane, "c0");
  const edit = (bootstrap: string) => bootstrap.replace("api_type: DELTA_GRPC", "api_type: GRPC");
  const { program, adminPort } = await startEnvoy(await envoy(), xdsPort, { edit });
  cleanup.defer(() => program.stop());
  const clusters = async () => {
    const { body } = await ask(adminPort, { path: "/clusters" });
    return [...new Set(Array.from(body.matchAll(/^(only\/\w+)::/gm), ([, name]) => name))];
  };
  const uses = (cluster: string) =>
    waitFor(`Envoy to have ${cluster} alone`, async () => (await clusters()).join() === `only/${cluster}`, WAIT_MS_MAX);
  await uses("c0");
  await waitFor("the first answer", async () => (await ask(port)).status === 200, WAIT_MS_MAX);

  const load = startSteadyLoad(port, 8);
  cleanup.defer(() => load.stop());
  for (let round = 1; round <= ROUNDS; round++) {
    await plane.program.stop("SIGKILL");
    const elsewhere = await ControlPlane.start(data);
    await use(elsewhere, `c${round}`);
    await elsewhere.program.stop();
    plane = await ControlPlane.start(data, { adminPort: admin, xdsPort });
    await uses(`c${round}`);
  }
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(load.answered).toBeGreaterThan(0);
  const { body: rejected } = await ask(adminPort, { path: "/stats?filter=update_rejected$" });
  expect(rejected.match(/: [1-9]/)).toBeNull();
});
