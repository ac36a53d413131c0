/** The gateway file of test/features/protocols.test.ts on Envoy: what holds for the native proxy holds there. */
import { afterAll, beforeAll, expect } from "vitest";

import { ControlPlane, startEnvoy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { type ProtocolGateway, startProtocolGateway } from "../support/protocol-gateway.ts";
import { protocolSuite } from "../support/protocol-suite.ts";
import { envoy } from "../support/tools.ts";
import { waitFor } from "../support/wait.ts";

const cleanup = new AsyncDisposableStack();
let gateway: ProtocolGateway;

beforeAll(async () => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  gateway = await startProtocolGateway(dir.path);
  cleanup.defer(() => gateway.close());
  const control = await ControlPlane.start(`${dir.path}/data`);
  cleanup.defer(() => control.program.stop());
  expect((await control.sluice("apply", "-f", await gateway.write("default"))).stderr).toBe("");
  const { program } = await startEnvoy(await envoy(), control.xdsPort);
  cleanup.defer(() => program.stop());
  await waitFor(
    "traffic",
    async () => (await ask(gateway.ports.plain, { headers: { host: "a.test" } })).status === 200,
  );
});

afterAll(() => cleanup.disposeAsync());

protocolSuite(() => gateway);
