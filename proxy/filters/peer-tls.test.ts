/** What a client's certificate tells: in access logs, and to the upstream by forward_client_cert_details. */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer, type TLSSocket } from "node:tls";
import { X509Certificate } from "node:crypto";

import { afterAll, beforeAll, expect, test } from "vitest";

import { Place } from "../compile.ts";
import { Headers } from "../headers.ts";
import { compileTextFormat } from "../observe/format.ts";
import { type ClientCertOptions, mutateClientCert } from "./client-cert.ts";
import { PeerTls } from "./peer-tls.ts";
import { peerOf, StreamRecord } from "./record.ts";

let folder = "";
let peer: PeerTls;
let socket: TLSSocket;
const closing: (() => void)[] = [];
const read = (name: string) => readFileSync(join(folder, name), "utf8");

/** A self-signed certificate, which is its own authority. */
function make(name: string, subject: string, sans: string): void {
  const out = ["-keyout", join(folder, `${name}.key`), "-out", join(folder, `${name}.crt`)];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  execFileSync(
    "openssl",
    ["req", "-x509", ...key, ...out, "-days", "2", "-subj", subject, "-addext", `subjectAltName=${sans}`],
    {
      stdio: "ignore",
    },
  );
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-tls-"));
  make("client", "/C=CH/O=Acme, Inc./CN=ann", "URI:spiffe://acme.test/ann,DNS:ann.test,DNS:b.test");
  make("server", "/CN=gateway.test", "URI:spiffe://acme.test/gateway,DNS:gateway.test");
  const server = createServer({
    key: read("server.key"),
    cert: read("server.crt"),
    ca: read("client.crt"),
    requestCert: true,
    maxVersion: "TLSv1.3",
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "secureConnection") as Promise<[TLSSocket]>;
  const { port } = server.address() as { port: number };
  const client = connect({
    port,
    host: "127.0.0.1",
    servername: "gateway.test",
    key: read("client.key"),
    cert: read("client.crt"),
    ca: read("server.crt"),
  });
  closing.push(
    () => client.destroy(),
    () => server.close(),
  );
  [socket] = await accepted;
  peer = new PeerTls(socket);
});

afterAll(() => {
  for (const close of closing) close();
  rmSync(folder, { recursive: true, force: true });
});

const format = (text: string) => {
  const place = Place.root();
  const record = new StreamRecord(peerOf(socket), performance.now());
  const line = compileTextFormat(text, false, place)(record);
  expect(place.problems).toEqual([]);
  return line;
};

test("operators tell of handshake and certificate", () => {
  const x509 = new X509Certificate(read("client.crt"));
  expect(format("%DOWNSTREAM_TLS_VERSION% %REQUESTED_SERVER_NAME% %DOWNSTREAM_LOCAL_URI_SAN%")).toBe(
    "TLSv1.3 gateway.test spiffe://acme.test/gateway",
  );
  // RFC 2253: the most specific part first, and what would part it escaped.
  expect(format("%DOWNSTREAM_PEER_SUBJECT%")).toBe(String.raw`CN=ann,O=Acme\, Inc.,C=CH`);
  expect(format("%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_DNS_SAN%")).toBe("spiffe://acme.test/ann ann.test,b.test");
  expect(format("%DOWNSTREAM_PEER_FINGERPRINT_256% %DOWNSTREAM_PEER_SERIAL%")).toBe(
    `${x509.fingerprint256.replaceAll(":", "").toLowerCase()} ${x509.serialNumber.toLowerCase()}`,
  );
});

const nothing: ClientCertOptions = {
  forward: "sanitize-set",
  subject: false,
  cert: false,
  chain: false,
  dns: false,
  uri: false,
};

function forwarded(options: Partial<ClientCertOptions>): string | undefined {
  const headers = new Headers();
  headers.add("x-forwarded-client-cert", "Hash=before");
  mutateClientCert(headers, peer, { ...nothing, ...options });
  return headers.get("x-forwarded-client-cert");
}

test("x-forwarded-client-cert has what is asked for, in Envoy's order", () => {
  const hash = peer.certificate?.fingerprint256;
  const by = "By=spiffe://acme.test/gateway";
  expect(forwarded({})).toBe(`${by};Hash=${hash}`);
  expect(forwarded({ forward: "append-forward" })).toBe(`Hash=before,${by};Hash=${hash}`);
  expect(forwarded({ subject: true, uri: true, dns: true })).toBe(
    `${by};Hash=${hash};Subject="CN=ann,O=Acme\\, Inc.,C=CH";URI=spiffe://acme.test/ann;DNS=ann.test;DNS=b.test`,
  );
  const pem = /Cert="([^"]*)"/.exec(forwarded({ cert: true }) ?? "")?.[1];
  expect(decodeURIComponent(pem ?? "")).toBe(read("client.crt"));
  expect(/Chain="([^"]*)"/.exec(forwarded({ chain: true }) ?? "")?.[1]).toBe(pem);
});

test("without a verified certificate nothing is forwarded, unless always", () => {
  const unsecured = new Headers();
  for (const forward of ["sanitize", "forward-only", "append-forward", "sanitize-set"] as const) {
    unsecured.set("x-forwarded-client-cert", "Hash=before");
    mutateClientCert(unsecured, undefined, { ...nothing, forward });
    expect(unsecured.has("x-forwarded-client-cert"), forward).toBe(false);
  }
  expect(forwarded({ forward: "forward-only" })).toBe("Hash=before");
  expect(forwarded({ forward: "always-forward-only" })).toBe("Hash=before");
  expect(forwarded({ forward: "sanitize" })).toBeUndefined();
});
