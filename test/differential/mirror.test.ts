/** Copies of requests: both sides send the same ones to the same places, and whatever becomes of a copy, the client's request does not notice. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { startTwins, type Twins } from "../support/twins.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const cleanup = new AsyncDisposableStack();
let twins: Twins;
/** What reached the place of the copies. */
let copies: string[] = [];

async function startShadow(): Promise<number> {
  const server: Server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    let bytes = 0;
    request.on("data", (piece: Buffer) => {
      bytes += piece.length;
    });
    request.on("end", () => {
      const { host, "x-from": from } = request.headers;
      copies.push(`${request.method} ${request.url} ${host} ${String(from)} ${bytes}`);
      // Whatever it says, the client must not see it.
      response.writeHead(500, { "x-shadow": "yes" }).end("shadow");
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  cleanup.defer(() => void server.close());
  cleanup.defer(() => server.closeAllConnections());
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  const up = await startUpstream("up");
  cleanup.defer(() => up.close());
  const route = (prefix: string, policies: JsonObject[], more: JsonObject = {}) => ({
    match: { prefix },
    route: { cluster: "up", requestMirrorPolicies: policies, ...more },
  });
  const share = (numerator: number) => ({ runtimeFraction: { defaultValue: { numerator, denominator: "HUNDRED" } } });
  twins = await startTwins({
    clusters: { up: up.port, shadow: await startShadow(), gone: 1 },
    listeners: {
      main: {
        routeConfig: {
          name: "table",
          requestHeadersToAdd: [{ header: { key: "x-from", value: "table" } }],
          virtualHosts: [
            {
              name: "all",
              domains: ["*"],
              routes: [
                route("/marked", [{ cluster: "shadow" }]),
                route("/same", [{ cluster: "shadow", disableShadowHostSuffixAppend: true }], {
                  prefixRewrite: "/rewritten",
                }),
                route("/named", [{ clusterHeader: "x-copy-to" }]),
                route("/none", [{ cluster: "shadow", ...share(0) }]),
                route("/all", [{ cluster: "shadow", ...share(100) }]),
                route("/twice", [{ cluster: "shadow" }, { cluster: "shadow" }]),
                route("/gone", [{ cluster: "gone" }]),
              ],
            },
          ],
        },
      },
    },
  });
  cleanup.defer(() => twins.stop());
});

afterAll(() => cleanup.disposeAsync());

beforeEach(() => {
  copies = [];
});

const BODY = "x".repeat(100_000);

test.each([
  ["/marked", {}, ["GET /marked a.test-shadow table 0"]],
  ["/marked", { headers: { host: "a.test:8080" } }, ["GET /marked a.test-shadow:8080 table 0"]],
  ["/same", { method: "POST", body: BODY }, ["POST /rewritten a.test table 100000"]],
  [
    "/same",
    { method: "POST", body: BODY, headers: { "transfer-encoding": "chunked" } },
    ["POST /rewritten a.test table 100000"],
  ],
  ["/named", { headers: { "x-copy-to": "shadow" } }, ["GET /named a.test-shadow table 0"]],
  ["/named", { headers: { "x-copy-to": "unknown" } }, []],
  ["/named", {}, []],
  ["/none", {}, []],
  ["/all", {}, ["GET /all a.test-shadow table 0"]],
  ["/twice", {}, ["GET /twice a.test-shadow table 0", "GET /twice a.test-shadow table 0"]],
  ["/gone", {}, []],
])(
  "%s with %o",
  async (path, { headers = {}, ...more }: { method?: string; body?: string; headers?: object }, expected) => {
    const answers = await twins.ask("main", { path, ...more, headers: { host: "a.test", ...headers } });
    for (const { status, headers: fields } of Object.values(answers)) {
      expect(status).toBe(200);
      expect(fields["x-shadow"]).toBeUndefined();
    }
    // A request behind it whose copy is sure to come.
    await twins.ask("main", { path: "/all/after", headers: { host: "a.test" } });
    const after = "GET /all/after a.test-shadow table 0";
    await waitFor(
      "the copies",
      () => copies.filter((one) => one === after).length === 2 && copies.length >= 2 * expected.length + 2,
    );
    expect(copies.filter((one) => one !== after)).toEqual([...expected, ...expected]);
  },
);
