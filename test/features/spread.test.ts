/** Connections that stay, and workers that come later. */
import { join } from "node:path";

import { expect, test } from "vitest";

import { RawClient } from "../support/raw-client.ts";
import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { waitFor } from "../support/wait.ts";

const CONNECTIONS = 40;
/** A share of 20, and what is not worth a reconnect. */
const WORKER_MAX = 28;

/** A client that asks again and again, and connects again when it is told that its connection ends. */
async function stay(port: number, goesOn: () => boolean): Promise<string[]> {
  const failures: string[] = [];
  while (goesOn()) {
    using client = new RawClient(port);
    while (goesOn()) {
      client.received = "";
      const text = await client
        .send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .until((received) => received.endsWith("here"))
        .catch((error: unknown) => String(error));
      if (!text.startsWith("HTTP/1.1 200")) failures.push(text);
      if (!text.endsWith("here") || text.includes("connection: close")) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return failures;
}

test("a worker that is added gets its share of the connections that are there, and no request fails", async () => {
  await using cleanup = new AsyncDisposableStack();
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const port = await freePort();
  const control = await ControlPlane.start(join(dir.path, "data"));
  cleanup.defer(() => control.program.stop());
  await control.call("GatewayGroupService/UpdateGatewayGroup", {
    gatewayGroup: { name: "default", listeners: [{ name: "http", port }] },
  });
  await control.call("ServiceService/CreateService", {
    service: { name: "s", routes: [{ name: "r", paths: ["/"], directResponse: { status: 200, body: "here" } }] },
  });
  const { program, adminPort } = await startProxy(control.xdsPort, { workers: 1, data: join(dir.path, "proxy") });
  cleanup.defer(() => program.stop());
  await waitFor("traffic", async () => (await ask(port, { headers: { host: "a.test" } })).status === 200);

  let goesOn = true;
  const clients = Array.from({ length: CONNECTIONS }, () => stay(port, () => goesOn));
  const spread = async () => {
    const { body } = await ask(adminPort, { path: `/stats?filter=_${port}.worker_` });
    return Array.from(body.matchAll(/downstream_cx_active: (\d+)/g), ([, count]) => Number(count)).sort(
      (a, b) => a - b,
    );
  };
  await waitFor("all on the one worker", async () => (await spread())[0] === CONNECTIONS);
  await ask(adminPort, { method: "POST", path: "/workers?count=2" });
  await waitFor(
    "both to have their share",
    async () => {
      const [least = 0, most = 0] = await spread();
      return least + most >= CONNECTIONS - 2 && most <= WORKER_MAX;
    },
    60_000,
  );
  goesOn = false;
  expect((await Promise.all(clients)).flat()).toEqual([]);
});
