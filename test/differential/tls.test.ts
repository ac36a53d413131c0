/** Downstream TLS: the same listener on Envoy and on the native proxy must take and refuse the same clients, and count them alike. */
import { once } from "node:events";
import { type ConnectionOptions, connect } from "node:tls";

import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { TestAuthority } from "../support/certificates.ts";
import { answering, downstreamTls, inlineCertificate } from "../support/json-listener.ts";
import { startTwins, type Twins } from "../support/twins.ts";
import { waitFor } from "../support/wait.ts";

const authority = new TestAuthority();
const strangers = new TestAuthority("strangers");
const names = [
  "open.test",
  "*.open.test",
  "one.test",
  "closed.test",
  "optional.test",
  "named.test",
  "v12.test",
  "v13.test",
];
const server = authority.issue({ name: "server", altNames: names.map((name) => `DNS:${name}`) });
const client = authority.issue({ name: "client", altNames: ["URI:spiffe://x/client"] });
const stranger = strangers.issue({ name: "stranger", altNames: ["URI:spiffe://x/client"] });
afterAll(() => {
  authority[Symbol.dispose]();
  strangers[Symbol.dispose]();
});

const own = { tlsCertificates: [inlineCertificate(server)] };
const trust = { validationContext: { trustedCa: { inlineString: authority.cert } } };
const onlyOther = {
  validationContext: {
    ...trust.validationContext,
    matchTypedSubjectAltNames: [{ sanType: "URI", matcher: { exact: "spiffe://x/other" } }],
  },
};
const required = { requireClientCertificate: true };
const chain = (name: string, tls: JsonObject) =>
  answering(name, { ...tls, name, filterChainMatch: { serverNames: name.split(" ") } });

const listener = {
  listenerFilters: [
    {
      name: "tls_inspector",
      typedConfig: { "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" },
    },
  ],
  filterChains: [
    chain("open.test *.open.test", downstreamTls({ ...own, alpnProtocols: ["h2", "http/1.1"] })),
    chain("one.test", downstreamTls({ ...own, alpnProtocols: ["http/1.1"] })),
    chain("closed.test", downstreamTls({ ...own, ...trust }, required)),
    chain("optional.test", downstreamTls({ ...own, ...trust })),
    chain("named.test", downstreamTls({ ...own, ...onlyOther }, required)),
    chain("v12.test", downstreamTls({ ...own, tlsParams: { tlsMaximumProtocolVersion: "TLSv1_2" } })),
    chain("v13.test", downstreamTls({ ...own, tlsParams: { tlsMinimumProtocolVersion: "TLSv1_3" } })),
  ],
};

let twins: Twins;
beforeAll(async () => {
  twins = await startTwins({ listeners: {}, whole: { secure: listener }, clusters: {} });
});
afterAll(() => twins.stop());

/** What a client sees: version, protocol, and the answer's first and last line; or that it was refused at some point. */
async function meet(port: number, host: string, options: ConnectionOptions): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1", servername: host, ca: authority.cert, ...options });
  socket.setEncoding("latin1");
  try {
    await once(socket, "secureConnect");
    const facts = `${socket.getProtocol()} ${socket.alpnProtocol || "-"}`;
    if (socket.alpnProtocol === "h2") return facts;
    socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
    let text = "";
    for await (const piece of socket) text += String(piece);
    const lines = text.split("\r\n");
    return text === "" ? "refused" : `${facts} ${lines[0]} ${lines.at(-1)}`;
  } catch {
    return "refused";
  } finally {
    socket.destroy();
  }
}

const v12 = { maxVersion: "TLSv1.2" } as const;
const v13 = { minVersion: "TLSv1.3" } as const;
const v11 = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;

test.each<[string, string, ConnectionOptions, RegExp]>([
  ["what both do best", "open.test", {}, /^TLSv1.3 - HTTP\/1.1 200 OK open/],
  ["TLS 1.2", "open.test", v12, /^TLSv1.2 - /],
  ["TLS 1.1", "open.test", v11, /^refused/],
  ["upper case", "OPEN.test", {}, /200 OK open/],
  ["a wildcard", "a.open.test", {}, /200 OK open/],
  ["two labels under a wildcard", "a.b.open.test", { rejectUnauthorized: false }, /200 OK open/],
  ["the server prefers h2", "open.test", { ALPNProtocols: ["http/1.1", "h2"] }, /^TLSv1.3 h2$/],
  ["only http/1.1", "open.test", { ALPNProtocols: ["http/1.1"] }, / http\/1.1 HTTP/],
  ["h2 is not there", "one.test", { ALPNProtocols: ["h2", "http/1.1"] }, / http\/1.1 HTTP/],
  ["no certificate", "closed.test", {}, /^refused/],
  ["no certificate, TLS 1.2", "closed.test", v12, /^refused/],
  ["a certificate", "closed.test", client, /200 OK closed/],
  ["a certificate, TLS 1.2", "closed.test", { ...client, ...v12 }, /200 OK closed/],
  ["a stranger", "closed.test", stranger, /^refused/],
  ["no certificate", "optional.test", {}, /200 OK optional/],
  ["a certificate", "optional.test", client, /200 OK optional/],
  ["a stranger", "optional.test", stranger, /^refused/],
  ["another name", "named.test", client, /^refused/],
  ["at most 1.2", "v12.test", {}, /^TLSv1.2 /],
  ["1.3 only", "v12.test", v13, /^refused/],
  ["at least 1.3", "v13.test", {}, /^TLSv1.3 /],
  ["1.2 only", "v13.test", v12, /^refused/],
  ["no chain", "unknown.test", {}, /^refused/],
])("%s: %s", async (_, host, options, expected) => {
  const [native, envoy] = await Promise.all(
    (["native", "envoy"] as const).map((side) => meet(twins.ports[side]["secure"] as number, host, options)),
  );
  expect(native).toMatch(expected);
  expect(native).toBe(envoy);
});

test("both have counted the same", async () => {
  const outcomes = ["handshake", "connection_error", "no_certificate", "session_reused"].map((name) => `ssl.${name}`);
  const failures = ["no_cert", "error", "san", "cert_hash"].map((name) => `ssl.fail_verify_${name}`);
  await waitFor("the same counts", async () => {
    const all = await twins.stats();
    const shown = (side: "native" | "envoy") =>
      [...outcomes, ...failures, "no_filter_chain_match", "downstream_cx_total"].map(
        (name) => `${name} ${all[side].get(`listener.127.0.0.1_${twins.ports[side]["secure"]}.${name}`)}`,
      );
    expect(shown("native")).toEqual(shown("envoy"));
    return true;
  });
});
