/** Questions over HTTP, against a scripted server. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";

import { NacosRegistrySchema } from "#sluice/model/v1/registry_pb.ts";

import { waitFor } from "../../test/support/wait.ts";
import { startWatching } from "../../test/support/watching.ts";

import { NacosHttp } from "./http.ts";
import { NacosIdentity } from "./identity.ts";
import { NacosLogin } from "./login.ts";
import { NacosPoll } from "./poll.ts";
import { nacosSource } from "./registry.ts";
import { NacosSource } from "./source.ts";

const recorded = (name: string) => readFileSync(join(import.meta.dirname, "testdata", name), "utf8");
const name = { namespace: "public", group: "DEFAULT_GROUP", service: "orders", clusters: "" };
const signal = new AbortController().signal;

let server: http.Server;
let url: string;
/** Answers by path; a path without one gets 404. */
let answers: Record<string, (query: URLSearchParams, form: URLSearchParams) => [number, string]> = {};
const asked: string[] = [];
const cleanups: (() => Promise<void>)[] = [];

beforeEach(async () => {
  answers = {};
  asked.length = 0;
  server = http.createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://script");
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      asked.push(pathname);
      const answer = answers[pathname.replace("/nacos", "")];
      const [status, text] = answer?.(searchParams, new URLSearchParams(body)) ?? [404, "not here"];
      response.writeHead(status).end(text);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  server.close();
  server.closeAllConnections();
});

function open(credentials: { username?: string; password?: string } = {}, now: () => number = () => 0) {
  const client = new NacosHttp({ addresses: ["http://127.0.0.1:1", url] });
  cleanups.push(() => client.close());
  const login = new NacosLogin(client, credentials.username, credentials.password, now);
  return { login, poll: new NacosPoll(client, new NacosIdentity(client, {}, login)) };
}

test.each([
  ["/v2/ns/instance/list", "list-v2-3.json", 2],
  ["/v1/ns/instance/list", "list-v1-3.json", 2],
  ["/v3/client/ns/instance/list", "list-v3-3.json", 1],
])("finds the API that there is, %s, and stays with it", async (path, file, count) => {
  answers[path] = () => [200, recorded(file)];
  const { poll } = open();
  expect((await poll.instances(name, signal)).hosts).toHaveLength(count);
  asked.length = 0;
  await poll.instances(name, signal);
  expect(asked).toEqual([`/nacos${path}`]);
});

test("logs in by the newest way that there is, and again when the token is about to expire or is refused", async () => {
  let logins = 0;
  let good = "t1";
  answers["/v1/auth/login"] = (_, form) => {
    logins++;
    return form.get("password") === "pw"
      ? [200, `{"accessToken":"t${logins}","tokenTtl":100}`]
      : [403, "unknown user!"];
  };
  answers["/v2/ns/instance/list"] = (query) =>
    query.get("accessToken") === good ? [200, recorded("list-v2-3.json")] : [403, '{"message":"token expired!"}'];
  let now = 0;
  const { poll } = open({ username: "u", password: "pw" }, () => now);
  await Promise.all([poll.instances(name, signal), poll.instances(name, signal)]);
  expect(logins).toBe(1);
  now = 79_000;
  await poll.instances(name, signal);
  expect(logins).toBe(1);
  good = "t2";
  now = 81_000;
  await poll.instances(name, signal);
  expect(logins).toBe(2);
  good = "t3";
  await poll.instances(name, signal);
  expect(logins).toBe(3);
  good = "none";
  await expect(poll.instances(name, signal)).rejects.toMatchObject({
    kind: "permission_denied",
    message: "HTTP 403 token expired!",
  });

  const wrong = open({ username: "u", password: "s3cret" }).poll.instances(name, signal);
  await expect(wrong).rejects.toMatchObject({
    kind: "unauthenticated",
    message: "login as u: refused, is the password right? HTTP 403 unknown user!",
  });
});

test.each([
  [500, "caused: no leader", "unreachable"],
  [200, "<html>", "bad_answer"],
  [200, '{"code":20004,"message":"resource not found"}', "bad_answer"],
  [502, "proxy", "unreachable"],
])("HTTP %d %s is %s", async (status, text, kind) => {
  answers["/v2/ns/instance/list"] = () => [status, text];
  await expect(open().poll.instances(name, signal)).rejects.toMatchObject({ kind });
});

test("a server from before gRPC is asked over HTTP, and the version says so", async () => {
  answers["/v1/console/server/state"] = () => [200, '{"version":"1.4.6","standalone_mode":"standalone"}'];
  answers["/v1/ns/instance/list"] = () => [200, recorded("list-v1-3.json")];
  const source = new NacosSource({ addresses: [url], grpcPortOffset: 1 - Number(new URL(url).port) });
  cleanups.push(() => source.close());
  const watching = startWatching(source, { service: "orders" });
  cleanups.push(() => watching.stop());
  await waitFor("the instances", () => watching.addresses?.length === 2);
  expect((await source.probe(signal)).version).toBe("Nacos 1.4.6, asked every 5 s over HTTP");
});

test("a newer server whose gRPC port does not answer is a failure to show, not one to poll around", async () => {
  answers["/v3/admin/core/state"] = () => [200, '{"data":{"version":"3.1.0"}}'];
  const source = new NacosSource({ addresses: [url], grpcPortOffset: 1 - Number(new URL(url).port) });
  cleanups.push(() => source.close());
  await expect(source.probe(signal)).rejects.toMatchObject({
    kind: "unreachable",
    message: /\(gRPC\): connect ECONNREFUSED 127.0.0.1:1$/,
  });
});

test("a registry says where the gRPC port is", async () => {
  answers["/v3/admin/core/state"] = () => [200, '{"data":{"version":"3.1.0"}}'];
  const grpcPortOffset = 65_535 - Number(new URL(url).port);
  const source = nacosSource(create(NacosRegistrySchema, { addresses: [url], grpcPortOffset }), () => "");
  cleanups.push(() => source.close());
  await expect(source.probe(signal)).rejects.toMatchObject({ kind: "unreachable", message: /:65535/ });
});
