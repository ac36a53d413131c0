/** A native proxy sends its access log to the control plane that it joined with a token, over TLS: L3 where joining takes a token. */
import { writeFile } from "node:fs/promises";

import { afterAll, beforeAll, expect, test } from "vitest";

import { logToControlPlane, loggedLine } from "../support/control-plane-logs.ts";
import { startProxy } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { startSecurePlane } from "../support/secure-plane.ts";

const cleanup = new AsyncDisposableStack();
let secure: Awaited<ReturnType<typeof startSecurePlane>>;

beforeAll(async () => {
  secure = await startSecurePlane(cleanup);
  await logToControlPlane(secure);
});
afterAll(() => cleanup.disposeAsync());

test("L3 entries come with the join token, again after it was renewed, and nowhere is the token shown", async () => {
  const { plane, file, args, token } = secure;
  const { program, adminPort } = await startProxy(plane.xdsPort, { nodeId: "px", args });
  cleanup.defer(() => program.stop());
  expect(await loggedLine(secure, "px", "/first")).toMatchObject({
    ...{ gateway_group: "default", log_name: "edge", type: "http" },
    response: { response_code: 200 },
  });

  const { stdout } = await plane.sluice("token", "create", "second");
  await writeFile(file("token"), stdout);
  expect((await plane.sluice("token", "delete", "first")).code).toBe(0);
  expect(await loggedLine(secure, "px", "/second")).toMatchObject({ gateway_group: "default" });

  const dump = await ask(adminPort, { path: "/config_dump" });
  expect(dump.status).toBe(200);
  for (const secret of [token, stdout.trim()]) {
    for (const text of [dump.body, program.stderr, program.stdout, plane.program.stderr, plane.program.stdout]) {
      expect(text).not.toContain(secret);
    }
  }
});
