/** TLS to origins. testdata/origin.*.pem: self-signed for origin.test and 127.0.0.1, valid for a century, made with openssl req -x509. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createServer, type TLSSocket, type TlsOptions } from "node:tls";

import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { afterAll, expect, test } from "vitest";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { registry } from "#proto/registry.ts";

import { TestAuthority } from "../../test/support/certificates.ts";
import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import type { ClusterSettings } from "../cluster/cluster.ts";
import { compileCluster } from "../cluster/compile.ts";
import { compileSecret, type Secret } from "../tls/secret.ts";

const read = (name: string) => readFileSync(join(import.meta.dirname, "testdata", name), "utf8");
const [key, cert] = [read("origin.key.pem"), read("origin.cert.pem")];
const body = "x".repeat(200_000);
const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

const authority = new TestAuthority();
afterAll(() => authority[Symbol.dispose]());

/** A cluster's settings as a control plane writes them. */
function settingsOf(tls: JsonObject, http: JsonObject = {}): ClusterSettings {
  const message = fromJson(
    ClusterSchema,
    {
      name: "c",
      loadAssignment: { clusterName: "c" },
      transportSocket: {
        name: "tls",
        typedConfig: {
          "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
          ...tls,
        },
      },
      typedExtensionProtocolOptions: {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
          "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
          explicitHttpConfig: { httpProtocolOptions: {} },
          ...http,
        },
      },
    },
    { registry },
  );
  const compiled = compileCluster(message);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  return compiled.value.settings;
}

const trusting = (ca: string, context: JsonObject = {}): JsonObject => ({
  commonTlsContext: { validationContext: { trustedCa: { inlineString: ca }, ...context } },
});
const san = (sanType: string, matcher: JsonObject): JsonObject => ({
  matchTypedSubjectAltNames: [{ sanType, matcher }],
});

async function request(settings: ClusterSettings, server: TlsOptions = {}, requests = [GET]) {
  const sockets: TLSSocket[] = [];
  const reused: boolean[] = [];
  const peers: (string | undefined)[] = [];
  const listening = createServer({ key, cert, ...server }, (socket) => {
    sockets.push(socket);
    reused.push(socket.isSessionReused());
    peers.push(socket.getPeerX509Certificate()?.subject);
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      if (bytes.includes("\r\n\r\n")) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
  listening.on("tlsClientError", () => {});
  await using origin = await TestServer.listen(listening);
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)], settings) });
  let text = "";
  for (const each of requests) text += await exchange(path.port, each);
  return {
    text,
    names: sockets.map(({ servername }) => servername),
    reused,
    peers,
    records: path.records,
    accepted: origin.accepted,
  };
}

test("a verified origin is asked by its name, on one connection", async () => {
  const twice = `GET / HTTP/1.1\r\nHost: h\r\n\r\n${GET}`;
  const names = trusting(cert, san("DNS", { exact: "origin.test" }));
  const { text, names: asked, accepted } = await request(settingsOf({ sni: "origin.test", ...names }), {}, [twice]);
  expect(text.split(body)).toHaveLength(3);
  expect(asked).toEqual(["origin.test"]);
  expect(accepted).toBe(1);
});

const hash = "0".repeat(64);
test.each<[string, JsonObject, string]>([
  ["of an unknown authority", trusting(authority.cert), "self-signed_certificate"],
  ["with none of the names", trusting(cert, san("DNS", { exact: "other.test" })), "SAN_matcher,_certificate_SANs_are_"],
  ["with a name of another type", trusting(cert, san("URI", { prefix: "o" })), "SAN_matcher,_certificate_SANs_are_"],
  ["of another hash", trusting(cert, { verifyCertificateHash: [hash] }), "cert_hash_and_spki"],
])("a certificate %s is 503 with UF, and says why in Envoy's words", async (_title, tls, reason) => {
  const { text, records } = await request(settingsOf({ sni: "origin.test", ...tls }));
  expect(text).toMatch(/^HTTP\/1.1 503 [^]*reset reason: remote connection failure/);
  expect(records[0]?.flags).toEqual(["UF"]);
  expect(records[0]?.upstreamTransportFailure).toMatch(
    new RegExp(
      `^TLS_error:\\|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:.*${reason}.*:TLS_error_end$`,
    ),
  );
});

test.each<[string, JsonObject]>([
  ["no validation context", {}],
  ["ACCEPT_UNTRUSTED", trusting(authority.cert, { trustChainVerification: "ACCEPT_UNTRUSTED" })],
  ["a name by prefix", trusting(cert, san("DNS", { prefix: "origin." }))],
  ["an address", trusting(cert, san("IP_ADDRESS", { exact: "127.0.0.1" }))],
])("with %s the origin is let through", async (_title, tls) => {
  expect((await request(settingsOf(tls))).text).toMatch(/^HTTP\/1.1 200 OK/);
});

test("auto_sni asks for the request's host, and auto_san_validation expects it", async () => {
  const own = authority.issue({ name: "x", altNames: ["DNS:a.test", "DNS:*.wild.test"] });
  const options = { upstreamHttpProtocolOptions: { autoSni: true, autoSanValidation: true } };
  const ask = (host: string) => GET.replace("Host: h", `Host: ${host}`);
  const settings = settingsOf(trusting(authority.cert), options);
  const { text, names, records } = await request(settings, own, [ask("a.test"), ask("b.wild.test:80"), ask("b.test")]);
  expect(text.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 503"]);
  expect(names.slice(0, 2)).toEqual(["a.test", "b.wild.test"]);
  expect(records[2]?.upstreamTransportFailure).toMatch(/verify_SAN_list,_expected_SANs:_\[b.test\]/);
});

test("the client certificate is shown, and refused ones are 503", async () => {
  const client = authority.issue({ name: "client" });
  const certificate = {
    commonTlsContext: {
      tlsCertificates: [{ certificateChain: { inlineString: client.cert }, privateKey: { inlineString: client.key } }],
    },
  };
  const server = { ca: authority.cert, requestCert: true, rejectUnauthorized: true };
  const { text, peers } = await request(settingsOf(certificate), server);
  expect(text).toMatch(/^HTTP\/1.1 200 OK/);
  expect(peers).toEqual(["CN=client"]);
  const without = await request(settingsOf({}), server);
  expect(without.text).toMatch(/^HTTP\/1.1 503 /);
});

test("a session is resumed on the next connection, unless none is to be kept", async () => {
  const tls = trusting(cert);
  const limit = { commonHttpProtocolOptions: { maxRequestsPerConnection: 1 } };
  const kept = await request(settingsOf(tls, limit), {}, [GET, GET]);
  expect(kept.records.map(({ upstreamTransportFailure }) => upstreamTransportFailure)).toEqual([undefined, undefined]);
  expect(kept.reused).toEqual([false, true]);
  expect((await request(settingsOf({ ...tls, maxSessionKeys: 0 }, limit), {}, [GET, GET])).reused).toEqual([
    false,
    false,
  ]);
});

test("secrets come by SDS: another version is for new connections, and the old ones end", async () => {
  const peers: (string | undefined)[] = [];
  const server = createServer({ key, cert, requestCert: true, ca: authority.cert }, (socket) => {
    peers.push(socket.getPeerX509Certificate()?.subject);
    socket.on("error", () => {}).on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  });
  await using origin = await TestServer.listen(server);
  const sds = (name: string) => ({ name, sdsConfig: { ads: {} } });
  const settings = settingsOf({
    commonTlsContext: {
      tlsCertificateSdsSecretConfigs: [sds("own")],
      combinedValidationContext: {
        defaultValidationContext: san("DNS", { exact: "origin.test" }),
        validationContextSdsSecretConfig: sds("trust"),
      },
    },
  });
  const secrets = new Map<string, Secret>();
  const put = (name: string, secret: JsonObject) => {
    const compiled = compileSecret(fromJson(SecretSchema, { name, ...secret }));
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
    secrets.set(name, compiled.value);
  };
  const own = (name: string) => {
    const issued = authority.issue({ name });
    put("own", {
      tlsCertificate: { certificateChain: { inlineString: issued.cert }, privateKey: { inlineString: issued.key } },
    });
  };
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)], settings), secrets });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 503 /);
  expect(path.records[0]?.upstreamTransportFailure).toBe("TLS_error:_Secret_is_not_supplied_by_SDS");

  put("trust", { validationContext: { trustedCa: { inlineString: cert } } });
  own("first");
  for (let n = 0; n < 2; n++) expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200 /);
  expect(peers).toEqual(["CN=first"]);
  own("second");
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200 /);
  expect(peers).toEqual(["CN=first", "CN=second"]);
  await until(() => origin.sockets.size === 1);
  put("trust", { validationContext: { trustedCa: { inlineString: authority.cert } } });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 503 /);
});

test("versions without overlap are 503 with OpenSSL's reason", async () => {
  const tls = { commonTlsContext: { tlsParams: { tlsMaximumProtocolVersion: "TLSv1_2" } } };
  const { text, records } = await request(settingsOf(tls), { minVersion: "TLSv1.3" });
  expect(text).toMatch(/^HTTP\/1.1 503 /);
  expect(records[0]?.upstreamTransportFailure).toMatch(
    /^TLS_error:\|268436526:SSL_routines:OPENSSL_internal:\w+:TLS_error_end$/,
  );
});

test("an origin that doesn't speak TLS is 503 with UF, and leaves nothing behind", async () => {
  await using origin = await TestServer.raw((socket) => socket.end("HTTP/1.1 400 No\r\n\r\n"));
  const cluster = clusterOf([endpointAt(origin.port)], settingsOf(trusting(cert)));
  await using path = await DataPath.start({ cluster });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 503 /);
  await until(() => cluster.load.connections === 0);
  expect(cluster.load).toEqual({ connections: 0, pending: 0, requests: 0, retries: 0 });
});

test("a connection that took longer to make than it may last serves a request nevertheless", async () => {
  const tls = createServer({ key, cert }, (socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  });
  await using origin = await TestServer.raw((socket) => {
    setTimeout(() => tls.emit("connection", socket.pause()), 200);
  });
  const settings = { ...settingsOf({}), connectTimeoutMs: 60_000, maxConnectionDurationMs: 100 };
  const cluster = clusterOf([endpointAt(origin.port)], settings);
  await using path = await DataPath.start({ cluster, action: { timeoutMs: 60_000 } });
  expect(await exchange(path.port, GET)).toMatch(/^HTTP\/1.1 200 [^]*ok$/);
});
