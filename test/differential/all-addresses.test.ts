/** A listener on "::": on both data planes it takes IPv4 as well, whose clients are known by their IPv4 addresses. */
import http from "node:http";

import { afterAll, beforeAll, expect, test } from "vitest";

import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { freePort } from "../support/ports.ts";
import { waitFor } from "../support/wait.ts";

let planes: DataPlanes;
const ports = { default: 0, envoy: 0 };

beforeAll(async () => {
  ports.default = await freePort();
  ports.envoy = await freePort();
  planes = await startDataPlanes(
    (group, port) => `
gatewayGroups:
  - name: ${group}
    listeners:
      - { name: http, address: 127.0.0.1, port: ${port} }
      - { name: all, address: "0::0", port: ${ports[group]} }
services:
  - name: s
    gatewayGroup: ${group}
    responseHeaders:
      set:
        x-client: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
        x-local: "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"
    routes: [{ name: root, paths: [/], directResponse: { status: 200 } }]
`,
    "a.test",
  );
});

afterAll(() => planes?.stop());

/** What the response says of the connection; undefined: there was none. */
const seen = (host: string, port: number) =>
  new Promise<string | undefined>((resolve) => {
    http
      .get({ host, port, agent: false, headers: { host: "a.test" } }, ({ headers }) =>
        resolve(`${String(headers["x-client"])} at ${String(headers["x-local"])}`),
      )
      .once("error", () => resolve(undefined));
  });

test.each(["127.0.0.1", "::1"])("clients of %s", async (address) => {
  const shown = address.includes(":") ? `[${address}]` : address;
  for (const group of ["default", "envoy"] as const) {
    const port = ports[group];
    const answer = await waitFor(`the listener of ${group} on ${address}`, () => seen(address, port));
    expect(answer).toBe(`${address} at ${shown}:${port} ${address}`);
  }
});
