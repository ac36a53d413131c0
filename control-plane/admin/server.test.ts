/** The admin port below its API: protocols, tokens, pages, TLS, and what a start can run into. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";

import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Health, HealthCheckResponse_ServingStatus } from "#proto/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "#proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "#proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { StatusService } from "#sluice/admin/v1/status_service_pb.ts";

import { authorized, startControlPlane, type TestControlPlane, testToken } from "../../test/support/control-plane.ts";
import { waitFor } from "../../test/support/wait.ts";
import { runControlPlane } from "../main.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startControlPlane();
  cleanups.push(() => plane.close());
});

const getStatus = (headers: Record<string, string>, body = "{}", url = plane.url) =>
  fetch(`${url}/sluice.admin.v1.StatusService/GetStatus`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test("plain JSON over HTTP/1.1 works, and a misspelt field is refused", async () => {
  const answer = await getStatus({ ...bearer(testToken), "x-request-id": "mine-1" });
  expect(answer.status).toBe(200);
  expect(answer.headers.get("x-request-id")).toBe("mine-1");
  expect(await answer.json()).toMatchObject({ revision: "1", store: "sqlite" });
  const misspelt = await getStatus(bearer(testToken), '{"nonsense": 1}');
  expect(misspelt.status).toBe(400);
  expect(await misspelt.text()).toContain("nonsense");
});

test.each([
  ["no token", {}],
  ["a wrong token", bearer(`sluice_${"x".repeat(43)}`)],
  ["no bearer", { authorization: `Basic ${testToken}` }],
  ["a token with something behind it", bearer(`${testToken}x`)],
])("%s is refused, with where to find the right one", async (_, headers) => {
  const answer = await getStatus(headers);
  expect(answer.status).toBe(401);
  expect(await answer.json()).toMatchObject({
    code: "unauthenticated",
    message: expect.stringContaining("SLUICE_ADMIN_TOKEN"),
  });
  expect(await (await fetch(`${plane.url}/metrics`)).text()).toContain(
    'sluice_admin_requests_total{service="sluice.admin.v1.StatusService",method="GetStatus",code="unauthenticated"} 1',
  );
});

test("pages of other sites get nothing", async () => {
  expect((await getStatus({ ...bearer(testToken), origin: "http://evil.example" })).status).toBe(403);
  expect((await getStatus({ ...bearer(testToken), "sec-fetch-site": "cross-site" })).status).toBe(403);
  const own = await getStatus({ ...bearer(testToken), origin: plane.url });
  expect(own.status).toBe(200);
  expect([...own.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
});

test("/healthz and /metrics need no token on loopback, and nothing else is there", async () => {
  const health = await fetch(`${plane.url}/healthz`);
  expect([health.status, await health.text()]).toEqual([200, "ok\n"]);
  expect((await fetch(`${plane.url}/healthz`, { method: "POST" })).status).toBe(405);
  expect((await fetch(`${plane.url}/nothing`)).status).toBe(404);
  const metrics = await (await fetch(`${plane.url}/metrics`)).text();
  for (const name of [
    "sluice_store_revision 1",
    "sluice_xds_streams 0",
    "sluice_admin_watches 0",
    "process_cpu_seconds",
  ]) {
    expect(metrics).toContain(name);
  }
});

test("metrics under a foreign name need the token (DNS rebinding)", async () => {
  const ask = (host: string, headers = "") =>
    new Promise<string>((resolve, reject) => {
      const { port } = new URL(plane.url);
      const socket = net.connect(Number(port), "127.0.0.1", () => {
        socket.write(`GET /metrics HTTP/1.1\r\nhost: ${host}\r\n${headers}connection: close\r\n\r\n`);
      });
      let text = "";
      socket.setEncoding("latin1");
      socket.on("data", (data: string) => (text += data));
      socket.on("error", reject);
      socket.on("end", () => resolve(text.slice(9, 12)));
    });
  expect(await ask("evil.example")).toBe("401");
  expect(await ask("evil.example", `authorization: Bearer ${testToken}\r\n`)).toBe("200");
  expect(await ask("localhost:9180")).toBe("200");
});

test("HTTP/2 is recognised however its first bytes arrive", async () => {
  const { port } = new URL(plane.url);
  const socket = net.connect(Number(port), "127.0.0.1");
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  for (const part of [
    preface.slice(0, 1),
    preface.slice(1, 20),
    Buffer.concat([Buffer.from(preface.slice(20)), settings]),
  ]) {
    socket.write(part);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const first = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
  // The server's own preface is a SETTINGS frame (RFC 9113, 3.4).
  expect(first[3]).toBe(4);
  socket.destroy();
});

test("health answers without a token, and knows which services there are", async () => {
  const health = createClient(Health, createGrpcTransport({ baseUrl: plane.url }));
  expect((await health.check({})).status).toBe(HealthCheckResponse_ServingStatus.SERVING);
  expect((await health.check({ service: StatusService.typeName })).status).toBe(
    HealthCheckResponse_ServingStatus.SERVING,
  );
  await expect(health.check({ service: "no.Such" })).rejects.toThrow("[not_found]");
  const watch = health.watch({ service: "no.Such" })[Symbol.asyncIterator]();
  expect((await watch.next()).value.status).toBe(HealthCheckResponse_ServingStatus.SERVICE_UNKNOWN);
  await watch.return?.();
});

test.each([
  ["v1", ServerReflection],
  ["v1alpha", ServerReflectionAlpha as unknown as typeof ServerReflection],
])("reflection %s shows services, files, symbols and extensions without a token", async (_, service) => {
  const reflection = createClient(service, createGrpcTransport({ baseUrl: plane.url }));
  const requests = [
    { case: "listServices", value: "" },
    { case: "fileByFilename", value: "sluice/admin/v1/common.proto" },
    { case: "fileContainingSymbol", value: "sluice.admin.v1.GatewayService.Apply" },
    { case: "fileContainingSymbol", value: "sluice.model.v1.Service.hosts" },
    {
      case: "fileContainingExtension",
      value: { containingType: "google.protobuf.FieldOptions", extensionNumber: 1159 },
    },
    { case: "allExtensionNumbersOfType", value: "google.protobuf.FieldOptions" },
    { case: "fileContainingSymbol", value: "no.Such" },
  ] as const;
  async function* asked() {
    for (const messageRequest of requests) yield { host: "h", messageRequest };
  }
  const answers = await Array.fromAsync(reflection.serverReflectionInfo(asked()));
  expect(answers.map(({ messageResponse }) => messageResponse.case)).toEqual([
    "listServicesResponse",
    ...Array.from({ length: 4 }, () => "fileDescriptorResponse"),
    "allExtensionNumbersResponse",
    "errorResponse",
  ]);
  expect(answers[0]?.messageResponse.value).toMatchObject({
    service: expect.arrayContaining([expect.objectContaining({ name: "sluice.admin.v1.GatewayService" })]),
  });
  expect(answers[5]?.messageResponse.value).toMatchObject({ extensionNumber: expect.arrayContaining([1159]) });
  expect(answers[6]?.messageResponse.value).toMatchObject({ errorCode: 5 });
  expect(answers[6]?.originalRequest?.messageRequest.value).toBe("no.Such");
});

test("a message that is too large is refused before it is read", async () => {
  const length = 65 * 1024 * 1024;
  const answer = await getStatus(bearer(testToken), `{"x":"${"x".repeat(length)}"}`);
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([429, "resource_exhausted"]);
  expect(await (await fetch(`${plane.url}/metrics`)).text()).toContain(
    'method="GetStatus",code="resource_exhausted"} 1',
  );
});

const refusalOf = (options: Partial<Parameters<typeof runControlPlane>[0]>) =>
  startControlPlane(options).then(
    async (started) => {
      await started.close();
      return "it started";
    },
    (error: unknown) => String(error),
  );

test("a start that can't be is refused in words", async () => {
  expect(await refusalOf({ adminAddress: plane.adminAddress })).toBe(
    `StartError: ${plane.adminAddress} is taken by another program; stop that one, or choose another address with --admin`,
  );
  expect(await refusalOf({ xdsAddress: plane.adminAddress })).toMatch(/^StartError: .* is taken .* with --xds$/);
  expect(await refusalOf({ adminAddress: "0.0.0.0:0" })).toMatch(/^StartError: --admin 0\.0\.0\.0:0 .*--insecure/);
  expect(await refusalOf({ xdsAddress: "[::]:0", insecure: true })).toMatch(
    /^StartError: --xds \[::\]:0 .*--xds-insecure/,
  );
  expect(await refusalOf({ xdsTlsCert: "/x" })).toMatch(/--xds-tls-cert and --xds-tls-key go together/);
  expect(await refusalOf({ xdsClientCa: "/x" })).toMatch(/--xds-client-ca needs --xds-tls-cert/);
  expect(await refusalOf({ adminAddress: "9180" })).toMatch(/^StartError: --admin 9180: expected HOST:PORT/);
  expect(await refusalOf({ adminTlsCert: "/x" })).toMatch(/go together/);
  expect(await refusalOf({ adminTlsCert: "/no/cert", adminTlsKey: "/no/key" })).toMatch(
    /^StartError: \/no\/cert can't be read/,
  );
  expect(await refusalOf({ dataDirectory: "/dev/null" })).toMatch(
    /^StoreError: \/dev\/null can't be used .*\(ENOTDIR\)/,
  );
  expect(await refusalOf({ dataDirectory: plane.dataDirectory })).toMatch(/^StoreError: .*sluice\.db is in use/);
  const everywhere = { adminAddress: "0.0.0.0:0", xdsAddress: "0.0.0.0:0" };
  expect(await refusalOf({ ...everywhere, insecure: true, xdsInsecure: true })).toBe("it started");
});

test("the token is made once, for the owner only, and shown once", async () => {
  const dataDirectory = join(mkdtempSync(join(tmpdir(), "sluice-token-")), "d");
  cleanups.push(() => rmSync(join(dataDirectory, ".."), { recursive: true }));
  const shown = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  cleanups.push(() => shown.mockRestore());
  const startAndEnd = async () => {
    vi.stubEnv("SLUICE_ADMIN_TOKEN", "");
    const options = {
      dataDirectory,
      adminAddress: "127.0.0.1:0",
      xdsAddress: "127.0.0.1:0",
      logLevel: "silent",
    } as const;
    const own = await runControlPlane(options);
    await own.close();
    vi.unstubAllEnvs();
    return shown.mock.calls.splice(0).join("");
  };
  const file = join(dataDirectory, "admin-token");
  expect(await startAndEnd()).toMatch(
    /^administrator token \(shown this once; kept in .*admin-token\): sluice_[\w-]{43}\n$/,
  );
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(await startAndEnd()).toBe("");
  writeFileSync(file, "short");
  await expect(startAndEnd()).rejects.toThrow(`${file} holds no administrator token`);
});

test("with TLS: HTTP/1.1 and HTTP/2 by ALPN, and new certificates are taken while it runs", async () => {
  const dir = mkdtempSync(join(tmpdir(), "sluice-tls-"));
  cleanups.push(() => rmSync(dir, { recursive: true }));
  const files = { cert: join(dir, "cert.pem"), key: join(dir, "key.pem") };
  const makeCertificate = (name: string) => {
    const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
    const out = ["-subj", `/CN=${name}`, "-keyout", files.key, "-out", files.cert];
    execFileSync("openssl", [...made, ...out, "-addext", "subjectAltName=IP:127.0.0.1"], { stdio: "ignore" });
  };
  makeCertificate("first");
  const secure = await startControlPlane({ adminTlsCert: files.cert, adminTlsKey: files.key });
  cleanups.push(() => secure.close());
  for (const httpVersion of ["1.1", "2"] as const) {
    const nodeOptions = { rejectUnauthorized: false };
    const transport = createConnectTransport({
      baseUrl: secure.url,
      httpVersion,
      nodeOptions,
      interceptors: [authorized()],
    });
    expect((await createClient(StatusService, transport).getStatus({})).revision).toBe(1n);
  }
  const subject = () =>
    new Promise<string | string[] | undefined>((resolve, reject) => {
      const { hostname, port } = new URL(secure.url);
      const options = { host: hostname, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["h2"] };
      const socket = tls.connect(options, () => {
        resolve(socket.getPeerCertificate().subject.CN);
        socket.destroy();
      });
      socket.once("error", reject);
    });
  expect(await subject()).toBe("first");
  makeCertificate("second");
  await waitFor("the new certificate", async () => (await subject()) === "second");
  writeFileSync(files.cert, "broken");
  expect(await subject()).toBe("second");
});

test("closing ends open streams with a reason, and does not wait for idle connections", async () => {
  const other = await startControlPlane();
  const session = http2.connect(other.url);
  session.on("error", () => {});
  await new Promise((resolve) => session.once("connect", resolve));
  await (await fetch(`${other.url}/healthz`)).text();
  const health = createClient(Health, createGrpcTransport({ baseUrl: other.url }));
  const watch = health.watch({})[Symbol.asyncIterator]();
  await watch.next();
  const rest = (async () => {
    for (;;) if ((await watch.next()).done === true) return "ended";
  })().catch(String);
  await other.close();
  expect(await rest).toMatch(/shutting down|ended/);
  session.destroy();
});
