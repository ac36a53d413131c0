/** The access log service (ALS): entries of all kinds become lines of JSON in a file, and nobody is ever answered. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { AccessLogService } from "#envoy/service/accesslog/v3/als_pb.ts";
import { RequestMethod } from "#envoy/config/core/v3/base_pb.ts";

import { testToken } from "../support/control-plane.ts";
import { ask } from "../support/http.ts";
import { PortStream } from "../support/port-client.ts";
import { waitFor } from "../support/wait.ts";
import { reason, type Running, startRunning } from "./running.ts";

let running: Running;
let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-als-"));
  file = join(folder, "access.jsonl");
  running = await startRunning([], { accessLogFile: file });
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const open = (metadata: Record<string, string> = {}) =>
  new PortStream(running.plane.xdsAddress, AccessLogService.method.streamAccessLogs, { metadata });

/** The lines of a file, once there are so many. */
const linesOf = (path: string, count: number) =>
  waitFor(`${count} lines in ${path}`, async () => {
    const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
    expect(lines).toHaveLength(count);
    return lines.map((line): unknown => JSON.parse(line));
  });

const httpLogs = (...paths: string[]) => ({
  case: "httpLogs" as const,
  value: { logEntry: paths.map((path) => ({ request: { path, requestMethod: RequestMethod.GET } })) },
});
const identifier = { node: { id: "px", cluster: "default" }, logName: "mine" };
const metrics = async () => (await ask(Number(running.plane.adminAddress.split(":")[1]), { path: "/metrics" })).body;

test("L3 only the first message says who sends; each entry is a line; the stream gets no answer", async () => {
  const stream = open();
  stream.send({ identifier, logEntries: httpLogs("/one", "/two") });
  const unknown = { typeUrl: "type.googleapis.com/made.Up", value: new Uint8Array([1]) };
  const commonProperties = { upstreamCluster: "c", filterStateObjects: { unknown } };
  const connectionProperties = { receivedBytes: 5n };
  stream.send({
    logEntries: { case: "tcpLogs", value: { logEntry: [{ commonProperties, connectionProperties }] } },
  });
  const from = { gateway_group: "default", node_id: "px", log_name: "mine" };
  expect(await linesOf(file, 3)).toEqual([
    { ...from, type: "http", request: { request_method: "GET", path: "/one" } },
    { ...from, type: "http", request: { request_method: "GET", path: "/two" } },
    {
      ...{ ...from, type: "tcp", common_properties: { upstream_cluster: "c" } },
      connection_properties: { received_bytes: "5" },
    },
  ]);
  expect(stream.responses).toEqual([]);
  expect(stream.ended).toBeUndefined();
  expect(await metrics()).toContain('sluice_access_log_entries_total{kind="http"} 2');
  stream.close();
});

test("L3 after a rotation the entries go on in a new file; only an operator can ask for it", async () => {
  const stream = open();
  await rename(file, `${file}.1`);
  const port = Number(running.plane.adminAddress.split(":")[1]);
  expect((await ask(port, { method: "POST", path: "/reopen_logs" })).status).toBe(401);
  const headers = { authorization: `Bearer ${testToken}` };
  expect((await ask(port, { path: "/reopen_logs", headers })).status).toBe(405);
  expect((await ask(port, { method: "POST", path: "/reopen_logs", headers })).body).toBe("OK\n");
  stream.send({ identifier, logEntries: httpLogs("/three") });
  expect(await linesOf(file, 1)).toMatchObject([{ request: { path: "/three" } }]);
  stream.close();
});

test("L3 who may not join a gateway group sends it no entries, and who says nothing of itself sends none at all", async () => {
  const joinTokens = [{ name: "t", sha256: createHash("sha256").update("guarded-token").digest("hex") }];
  const listeners = [{ name: "http", port: 19_102 }];
  await running.gateways.apply({ gateway: { gatewayGroups: [{ name: "guarded", listeners, joinTokens }] } });
  const guarded = { node: { id: "px", cluster: "guarded" }, logName: "mine" };
  const stranger = open();
  stranger.send({ identifier: guarded, logEntries: httpLogs("/forged") });
  expect(reason(await stranger.end())).toMatch(/^UNAUTHENTICATED/);
  const nobody = open();
  nobody.send({ logEntries: httpLogs("/forged") });
  expect(reason(await nobody.end())).toMatch(/^INVALID_ARGUMENT/);
  const member = open({ authorization: "Bearer guarded-token" });
  member.send({ identifier: guarded, logEntries: httpLogs("/true") });
  const written = await linesOf(file, 2);
  expect(written[1]).toMatchObject({ gateway_group: "guarded", request: { path: "/true" } });
  // A token that is taken back ends what was opened with it.
  const others = [{ name: "u", sha256: createHash("sha256").update("another").digest("hex") }];
  await running.gateways.apply({ gateway: { gatewayGroups: [{ name: "guarded", listeners, joinTokens: others }] } });
  expect(reason(await member.end())).toMatch(/^PERMISSION_DENIED/);
});
