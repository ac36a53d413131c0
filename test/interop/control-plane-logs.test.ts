/** A real Envoy sends its access log to the control plane that it joined with a token, over TLS: L3 where joining takes a token. */
import { afterAll, expect, test } from "vitest";

import { logToControlPlane, loggedLine } from "../support/control-plane-logs.ts";
import { startEnvoy } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { startSecurePlane } from "../support/secure-plane.ts";
import { envoy } from "../support/tools.ts";

const cleanup = new AsyncDisposableStack();
afterAll(() => cleanup.disposeAsync());

test("L3 Envoy's entries come by xds_cluster, with the join token, which no dump shows", async () => {
  const secure = await startSecurePlane(cleanup);
  await logToControlPlane(secure);
  const { program, adminPort } = await startEnvoy(await envoy(), secure.plane.xdsPort, { args: secure.args });
  cleanup.defer(() => program.stop());
  expect(await loggedLine(secure, "envoy-1", "/first")).toMatchObject({
    ...{ gateway_group: "default", log_name: "edge", type: "http" },
    response: { response_code: 200 },
  });
  const dump = await ask(adminPort, { path: "/config_dump" });
  expect(dump.status).toBe(200);
  expect(dump.body).not.toContain(secure.token);
  expect(secure.plane.program.stdout + secure.plane.program.stderr).not.toContain(secure.token);
});
