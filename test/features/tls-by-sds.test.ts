/** Certificates and listeners through the real proxy, from xDS to TLS clients, while they change. */
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { Agent, request } from "node:https";
import { enableCompileCache } from "node:module";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";

import { fromJson, type JsonObject, type Message } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { registry } from "#proto/registry.ts";

import { type RunningProxy, runProxy } from "../../proxy/main.ts";
import { journalFile } from "../../proxy/xds/journal.ts";
import { AdsServer } from "../support/ads-server.ts";
import { type TestCertificate, TestAuthority } from "../support/certificates.ts";
import { RawClient } from "../support/raw-client.ts";
import { assignment, cluster, routes } from "../support/envoy-resources.ts";
import { temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { bySds, downstreamTls, inlineCertificate } from "../support/json-listener.ts";
import { freePort } from "../support/ports.ts";
import { waitFor } from "../support/wait.ts";

enableCompileCache(join(import.meta.dirname, "../../node_modules/.cache/sluice/compile"));

let dir: Awaited<ReturnType<typeof temporaryDir>>;
let server: AdsServer;
let upstream: Server;
let proxy: RunningProxy;
let port: number;
let version = 0;
const authority = new TestAuthority();

const byRds = (more: JsonObject = {}): JsonObject => ({
  filters: [
    {
      name: "hcm",
      typedConfig: {
        "@type":
          "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        statPrefix: "http",
        rds: { routeConfigName: "r", configSource: { ads: {} } },
        httpFilters: [
          {
            name: "router",
            typedConfig: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
          },
        ],
      },
    },
  ],
  ...more,
});
const tlsChain = byRds({
  filterChainMatch: { transportProtocol: "tls" },
  ...downstreamTls({ tlsCertificateSdsSecretConfigs: bySds("cert") }),
});
const listenerOf = (...filterChains: JsonObject[]): Message =>
  fromJson(
    ListenerSchema,
    { name: "l", address: { socketAddress: { address: "127.0.0.1", portValue: port } }, filterChains },
    { registry },
  );
const secretOf = (certificate: TestCertificate): Message =>
  fromJson(SecretSchema, { name: "cert", tlsCertificate: inlineCertificate(certificate) });
const certificate = (name: string) => authority.issue({ name, altNames: ["DNS:a.test"] });

/** Sends a resource, which the proxy must accept. */
async function send(type: "SDS" | "LDS", name: string, body: Message): Promise<void> {
  const nonce = server.send(type, [{ name, version: String(++version), body }]);
  expect((await server.answerTo(nonce)).errorDetail).toBeUndefined();
}

beforeAll(async () => {
  dir = await temporaryDir();
  server = await AdsServer.start();
  upstream = createServer({ keepAliveTimeout: 600_000 }, (_, response) => response.end("from upstream"));
  upstream.listen(0, "127.0.0.1");
  await once(upstream, "listening");
  port = await freePort();
  const started = runProxy({
    xdsAddress: server.address,
    gatewayGroup: "default",
    nodeId: "n",
    adminAddress: "127.0.0.1:0",
    workers: 2,
    dataDirectory: dir.path,
    drainTimeMs: 5_000,
    version: "0.0.0-test",
    logLevel: "silent",
  });
  await server.request(({ typeUrl }) => typeUrl.endsWith("Listener"));
  server.send("CDS", [{ name: "a", body: cluster("a") }]);
  server.send("LDS", [{ name: "l", body: listenerOf(tlsChain, byRds()) }]);
  await server.subscriptionTo("EDS", "a");
  server.send("EDS", [{ name: "a", body: assignment("a", (upstream.address() as AddressInfo).port) }]);
  await server.subscriptionTo("RDS", "r");
  server.send("RDS", [{ name: "r", body: routes("r", { "/": "a" }) }]);
  await server.subscriptionTo("SDS", "cert");
  server.send("SDS", [{ name: "cert", body: secretOf(certificate("first")) }]);
  proxy = await started;
  await waitFor("TLS", async () => (await servedCertificate()) === "first");
});

afterAll(async () => {
  await proxy.close();
  server.close();
  upstream.close();
  upstream.closeAllConnections();
  authority[Symbol.dispose]();
  await dir.remove();
});

/** The common name of the certificate that a new client is shown. */
async function servedCertificate(): Promise<string | undefined> {
  const socket = connect({ port, host: "127.0.0.1", servername: "a.test", ca: authority.cert });
  await once(socket, "secureConnect");
  const name = socket.getPeerCertificate().subject.CN;
  socket.destroy();
  return Array.isArray(name) ? name[0] : name;
}

/** Waits until every worker shows it: each of so many clients meets one of the two by chance. */
const servedEverywhere = (name: string) =>
  waitFor(`the certificate ${name} in both workers`, async () => {
    for (let client = 0; client < 20; client++) if ((await servedCertificate()) !== name) return false;
    return true;
  });

/** Requests over TLS until it is stopped; what failed. */
function keepAskingTls(agent: Agent) {
  const failures: string[] = [];
  let answered = 0;
  let stopping = false;
  const loop = async () => {
    while (!stopping) {
      await new Promise<void>((resolve) => {
        const fail = (error: Error) => {
          failures.push(error.message);
          resolve();
        };
        const options = { host: "127.0.0.1", port, agent, servername: "a.test", ca: authority.cert };
        request({ ...options, headers: { host: "a.test" } }, (response) => {
          if (response.statusCode === 200) answered++;
          else failures.push(String(response.statusCode));
          response.resume().on("end", resolve).on("error", fail);
        })
          .on("error", fail)
          .end();
      });
    }
  };
  const loops = [loop(), loop(), loop()];
  return {
    failures,
    answered: () => answered,
    stop: async () => {
      stopping = true;
      await Promise.all(loops);
      agent.destroy();
    },
  };
}

test("a certificate that changes under load costs no request, and the next handshake shows it", async () => {
  const kept = keepAskingTls(new Agent({ keepAlive: true }));
  const fresh = keepAskingTls(new Agent({ keepAlive: false }));
  for (const name of ["second", "third", "fourth"]) {
    await send("SDS", "cert", secretOf(certificate(name)));
    await servedEverywhere(name);
  }
  await waitFor("requests", () => kept.answered() > 20 && fresh.answered() > 20);
  await Promise.all([kept.stop(), fresh.stop()]);
  expect([...kept.failures, ...fresh.failures]).toEqual([]);
});

test("a certificate that can't be used is refused without its content, and the one before goes on", async () => {
  const broken = { ...certificate("broken"), key: authority.issue({ name: "other" }).key };
  const nonce = server.send("SDS", [{ name: "cert", version: "broken", body: secretOf(broken) }]);
  const message = (await server.answerTo(nonce)).errorDetail?.message ?? "";
  expect(message).toContain("cert: tls_certificate.private_key: is not the key of the certificate");
  expect(message).not.toContain("BEGIN");
  await servedEverywhere("fourth");
});

test("secrets are on disk for the owner only, and never on the admin pages", async () => {
  const snapshot = join(dir.path, "proxy", "n.snapshot");
  const files = [snapshot, journalFile(snapshot)];
  // What came after the first snapshot was made is in the journal.
  await waitFor("the key", async () => {
    const texts = await Promise.all(files.map((file) => readFile(file, "latin1")));
    return texts.some((text) => text.includes("PRIVATE KEY"));
  });
  for (const file of files) expect((await stat(file)).mode & 0o777).toBe(0o600);
  const [, adminPort] = proxy.adminAddress.split(":");
  const { body } = await ask(Number(adminPort), { path: "/config_dump" });
  expect(body).toContain("SecretsConfigDump");
  expect(body).not.toContain("PRIVATE KEY");
});

const get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

test("a filter chain that changes leaves the connections of the other one alone", async () => {
  using open = new RawClient(port);
  await open.send(get).until((text) => text.endsWith("from upstream"));
  await send("LDS", "l", listenerOf({ ...tlsChain, transportSocketConnectTimeout: "3s" }, byRds()));
  await waitFor("the change", async () => (await servedCertificate()) !== undefined);
  const text = await open.send(get).until((all) => all.split("from upstream").length === 3);
  expect(text).not.toContain("connection: close");
});

test("a listener that goes lets its connections have one more answer", async () => {
  using open = new RawClient(port);
  await open.send(get).until((text) => text.endsWith("from upstream"));
  server.send("LDS", [], ["l"]);
  // Its routes go with it; the next request is on the same connection all the same.
  await waitFor("the port to close", async () => {
    using probe = new RawClient(port);
    return await probe
      .send(get)
      .end()
      .then(
        (text) => text === "",
        () => true,
      );
  });
  expect(await open.send(get).end()).toMatch(/200 OK[^]*200 OK[^]*connection: close[^]*from upstream$/);
});
