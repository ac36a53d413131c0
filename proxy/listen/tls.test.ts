/** Downstream TLS through real sockets: certificates by name and by secret, client certificates, resumption, chains, PROXY headers. */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { randomBytes } from "node:crypto";

import { afterAll, expect, test } from "vitest";

import { type TestCertificate, TestAuthority } from "../../test/support/certificates.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import {
  answering,
  bySds,
  compileJson,
  downstreamTls,
  inlineCertificate,
  JsonListener,
  listenerOptions,
} from "../../test/support/json-listener.ts";

const authority = new TestAuthority();
const strangers = new TestAuthority("strangers");
afterAll(() => {
  authority[Symbol.dispose]();
  strangers[Symbol.dispose]();
});
const a = authority.issue({ name: "a", altNames: ["DNS:a.test", "DNS:*.a.test"] });
const aRsa = authority.issue({ name: "a-rsa", altNames: ["DNS:a.test"], type: "rsa" });
const b = authority.issue({ name: "b", altNames: ["DNS:b.test"] });

const trust = { ca: authority.cert };
const tlsOf = (...certificates: TestCertificate[]) =>
  downstreamTls({ tlsCertificates: certificates.map(inlineCertificate) });
const secretOf = (certificate: TestCertificate) => ({ tlsCertificate: inlineCertificate(certificate) });

/** Shakes hands; rejects if that fails. */
async function handshake(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port, host: "127.0.0.1", servername: "a.test", ...trust, ...options });
  try {
    await once(socket, "secureConnect");
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return socket;
}

/** A request over TLS, and all of its answer. */
async function ask(port: number, options: ConnectionOptions = {}, host = "a.test"): Promise<string> {
  const socket = await handshake(port, options);
  socket.on("error", () => {}).write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  let text = "";
  for await (const bytes of socket) text += String(bytes);
  return text;
}

const commonName = (socket: TLSSocket) => {
  const name = socket.getPeerCertificate().subject.CN;
  socket.destroy();
  return name;
};

test("a request over TLS is answered, and its scheme is https", async () => {
  await using it = await JsonListener.start([answering("hello", tlsOf(a))]);
  expect(await ask(it.port)).toMatch(/^HTTP\/1.1 200 [^]*hello$/);
});

test("certificates are chosen by name, by wildcard, and by what the client can", async () => {
  await using it = await JsonListener.start([answering("", tlsOf(b, a, aRsa))]);
  const name = async (servername: string, options: ConnectionOptions = {}) =>
    commonName(await handshake(it.port, { servername, checkServerIdentity: () => undefined, ...options }));
  expect(await name("A.test")).toBe("a");
  expect(await name("a.test", { sigalgs: "rsa_pss_rsae_sha256" })).toBe("a-rsa");
  expect(await name("x.a.test")).toBe("a");
  expect(await name("y.x.a.test")).toBe("b");
  expect(await name("")).toBe("b");
});

test("a secret that changes holds for the next handshake, and connections go on", async () => {
  await using it = await JsonListener.start([
    answering("hello", downstreamTls({ tlsCertificateSdsSecretConfigs: bySds("s") })),
  ]);
  await expect(handshake(it.port)).rejects.toThrow();
  it.setSecret("s", secretOf(a));
  const open = await handshake(it.port);
  expect(open.getPeerCertificate().subject.CN).toBe("a");
  it.setSecret("s", secretOf(b));
  expect(commonName(await handshake(it.port, { servername: "b.test" }))).toBe("b");
  expect(commonName(await handshake(it.port, { servername: "", checkServerIdentity: () => undefined }))).toBe("b");
  open.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  expect(String((await once(open, "data"))[0])).toMatch(/^HTTP\/1.1 200 /);
  open.destroy();
});

test("of ALPN comes what both speak, and nothing else", async () => {
  const tls = downstreamTls({ tlsCertificates: [inlineCertificate(a)], alpnProtocols: ["http/1.1"] });
  await using it = await JsonListener.start([answering("", tls)]);
  const socket = await handshake(it.port, { ALPNProtocols: ["x", "http/1.1"] });
  expect(socket.alpnProtocol).toBe("http/1.1");
  socket.destroy();
  await expect(handshake(it.port, { ALPNProtocols: ["x"] })).rejects.toThrow(/alert|ALPN|protocol/i);
});

test.each([
  ["TLS 1.1", { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" }],
  ["a cipher that is not allowed", { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" }],
] as const)("%s: refused", async (_, options) => {
  const tls = downstreamTls({
    tlsCertificates: [inlineCertificate(a)],
    tlsParams: { cipherSuites: ["[ECDHE-ECDSA-AES256-GCM-SHA384|ECDHE-RSA-AES256-GCM-SHA384]"] },
  });
  await using it = await JsonListener.start([answering("", tls)]);
  await expect(handshake(it.port, options)).rejects.toThrow();
  (await handshake(it.port, { maxVersion: "TLSv1.2" })).destroy();
  (await handshake(it.port, { minVersion: "TLSv1.3" })).destroy();
});

const clientTls = (context: object, more = { requireClientCertificate: true }) =>
  downstreamTls(
    {
      tlsCertificates: [inlineCertificate(a)],
      validationContext: { trustedCa: { inlineString: authority.cert }, ...context },
    },
    more,
  );
const client = authority.issue({ name: "client", altNames: ["URI:spiffe://x/client"] });
const stranger = strangers.issue({ name: "stranger", altNames: ["URI:spiffe://x/client"] });
const onlyClient = { matchTypedSubjectAltNames: [{ sanType: "URI", matcher: { prefix: "spiffe://x/" } }] };
const onlyOther = { matchTypedSubjectAltNames: [{ sanType: "URI", matcher: { exact: "spiffe://x/other" } }] };

test.each<[string, object, TestCertificate | undefined, boolean, boolean]>([
  ["one of ours", {}, client, true, true],
  ["none", {}, undefined, true, false],
  ["none, where it need not be", {}, undefined, false, true],
  ["one of another authority", {}, stranger, true, false],
  ["one of another authority, where it need not be", {}, stranger, false, false],
  [
    "one of another authority, where anything will do",
    { trustChainVerification: "ACCEPT_UNTRUSTED" },
    stranger,
    true,
    true,
  ],
  ["one with a name that is allowed", onlyClient, client, true, true],
  ["one with another name", onlyOther, client, true, false],
])("client certificate: %s", async (_, context, certificate, required, expected) => {
  await using it = await JsonListener.start([
    answering("hello", clientTls(context, { requireClientCertificate: required })),
  ]);
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    const answer = await ask(it.port, { maxVersion, ...certificate }).catch(() => "");
    expect(answer.endsWith("hello")).toBe(expected);
  }
});

/** Whether a second handshake with the session of the first resumes it. */
async function resumes(first: number, second: number, options: ConnectionOptions = {}): Promise<boolean> {
  const socket = await handshake(first, options);
  // TLS 1.3 gives a session when it pleases, TLS 1.2 within the handshake.
  const is12 = socket.getProtocol() === "TLSv1.2";
  const session = is12 ? socket.getSession() : ((await once(socket, "session")) as [Buffer])[0];
  socket.destroy();
  const again = await handshake(second, { ...options, session });
  const reused = again.isSessionReused();
  again.destroy();
  return reused;
}

test.each(["TLSv1.2", "TLSv1.3"] as const)("a session of one worker is resumed by another: %s", async (maxVersion) => {
  let key = randomBytes(48);
  const context = { ticketKeys: () => key };
  await using one = await JsonListener.start([answering("", tlsOf(a))], {}, context);
  await using two = await JsonListener.start([answering("", tlsOf(a))], {}, context);
  expect(await resumes(one.port, two.port, { maxVersion })).toBe(true);
  const before = key;
  // Another key, as after a rotation: a full handshake, and the session is not lost to later ones.
  key = randomBytes(48);
  expect(key.equals(before)).toBe(false);
  expect(await resumes(one.port, two.port, { maxVersion })).toBe(true);
});

test("a session made under other rules for clients is not resumed", async () => {
  const ticketKeys = randomBytes(48);
  const context = { ticketKeys: () => ticketKeys };
  await using lax = await JsonListener.start(
    [answering("", clientTls({}, { requireClientCertificate: false }))],
    {},
    context,
  );
  await using same = await JsonListener.start([answering("", clientTls({}))], {}, context);
  await using strict = await JsonListener.start([answering("", clientTls(onlyClient))], {}, context);
  expect(await resumes(lax.port, same.port, client)).toBe(true);
  // It need not even fail: a full handshake follows.
  expect(await resumes(lax.port, strict.port, client).catch(() => false)).toBe(false);
});

test("sec 16 renegotiation is refused", async () => {
  await using it = await JsonListener.start([answering("", tlsOf(a))]);
  const socket = await handshake(it.port, { maxVersion: "TLSv1.2" });
  const ended = once(socket, "error").then(([error]) => error as Error);
  const answered = new Promise<unknown>((resolve) => void socket.renegotiate({}, resolve));
  expect(await Promise.race([answered, ended])).toBeInstanceOf(Error);
  socket.destroy();
});

test("handshakes are counted by how they end, under Envoy's names", async () => {
  const more = { requireClientCertificate: true };
  const chain = (name: string, tls: object) =>
    answering("hello", { ...tls, filterChainMatch: { serverNames: [`${name}.a.test`] } });
  await using it = await JsonListener.start([
    chain("open", tlsOf(a)),
    chain("closed", clientTls(onlyOther, more)),
    chain("hashed", clientTls({ verifyCertificateHash: ["00".repeat(32)] }, more)),
    chain("late", downstreamTls({ tlsCertificateSdsSecretConfigs: bySds("late") })),
  ]);
  const reach = (servername: string, options: ConnectionOptions = {}) =>
    ask(it.port, { servername, maxVersion: "TLSv1.2", ...options }).catch(() => "");
  await reach("open.a.test");
  await reach("closed.a.test");
  await reach("closed.a.test", stranger);
  await reach("closed.a.test", client);
  await reach("hashed.a.test", client);
  await reach("late.a.test");
  await reach("other.test");
  await reach("open.a.test", { maxVersion: "TLSv1.1", minVersion: "TLSv1", ciphers: "DEFAULT@SECLEVEL=0" });
  const counted = [
    "ssl.handshake",
    "ssl.no_certificate",
    "ssl.session_reused",
    "ssl.connection_error",
    "ssl.fail_verify_no_cert",
    "ssl.fail_verify_error",
    "ssl.fail_verify_san",
    "ssl.fail_verify_cert_hash",
    "server_ssl_socket_factory.downstream_context_secrets_not_ready",
    "no_filter_chain_match",
  ];
  const all = () => counted.map((name) => it.stats.get(`listener.${name}`));
  await until(() => it.stats.get("listener.downstream_cx_destroy") === 7);
  expect(all()).toEqual([1, 1, 0, 1, 1, 1, 1, 1, 1, 1]);
});

test("a client that says nothing is cut off in time, and counted", async () => {
  await using it = await JsonListener.start([answering("", { ...tlsOf(a), transportSocketConnectTimeout: "0.05s" })]);
  using silent = new RawClient(it.port);
  expect(await silent.end()).toBe("");
  expect(it.stats.get("listener.downstream_cx_transport_socket_connect_timeout")).toBe(1);
});

test("a client that leaves before hands are shaken is let go at once; one that has asked and ends its half is answered", async () => {
  await using it = await JsonListener.start([
    answering("hello", { ...tlsOf(a), transportSocketConnectTimeout: "3600s" }),
  ]);
  const gone = () => it.stats.get("listener.downstream_cx_destroy");
  using silent = new RawClient(it.port);
  // A record of a handshake that never comes.
  silent.send("\x16\x03\x01").socket.end();
  await silent.end();
  await until(() => gone() === 1);
  // The other end has no time to be done with the handshake.
  for (let client = 0; client < 10; client++) (await handshake(it.port)).destroy();
  await until(() => gone() === 11);

  const socket = await handshake(it.port);
  socket.end("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  let text = "";
  for await (const bytes of socket) text += String(bytes);
  expect(text).toMatch(/^HTTP\/1.1 200 [^]*hello$/);
});

test("the chain is chosen by server name, and what has none goes to the default chain or nowhere", async () => {
  const chains = [
    answering("chain a", { ...tlsOf(a), filterChainMatch: { serverNames: ["a.test"] } }),
    answering("chain b", { ...tlsOf(b), filterChainMatch: { serverNames: ["b.test"] } }),
  ];
  await using it = await JsonListener.start(chains);
  expect(await ask(it.port)).toMatch(/chain a$/);
  expect(await ask(it.port, { servername: "b.test" }, "b.test")).toMatch(/chain b$/);
  await expect(handshake(it.port, { servername: "c.test" })).rejects.toThrow();
  it.running.update(listenerOptions(chains, { defaultFilterChain: answering("plain") }), 60_000);
  using plain = new RawClient(it.port);
  await plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").until((text) => text.endsWith("plain"));
});

test("sec 16 a request for a host of another chain came on the wrong connection", async () => {
  await using it = await JsonListener.start([
    answering("chain a", { ...tlsOf(a), filterChainMatch: { serverNames: ["a.test"] } }),
    answering("chain b", { ...tlsOf(b), filterChainMatch: { serverNames: ["*.b.test"] } }),
  ]);
  expect(await ask(it.port, {}, "www.B.test:443")).toMatch(/^HTTP\/1.1 421 /);
  expect(await ask(it.port, {}, "other.test")).toMatch(/chain a$/);
});

test("a connection of a chain that changed gets its last answer from there, and is not sent elsewhere", async () => {
  const chain = (text: string) => answering(text, { ...tlsOf(a), filterChainMatch: { serverNames: ["a.test"] } });
  await using it = await JsonListener.start([chain("before")]);
  const socket = connect({ host: "127.0.0.1", port: it.port, servername: "a.test", ca: authority.cert });
  const received: Buffer[] = [];
  socket.on("data", (bytes: Buffer) => received.push(bytes));
  const got = () => Buffer.concat(received).toString();
  socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  await until(() => got().endsWith("before"));
  it.running.update(listenerOptions([chain("after")]), 60_000);
  socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  await until(() => got().split("before").length === 3);
  expect(got()).toContain("connection: close");
});

test("a chain that stays the same keeps its connections when another one changes", async () => {
  const one = answering("one", { filterChainMatch: { sourceType: "EXTERNAL" } });
  await using it = await JsonListener.start([answering("stays"), one]);
  using open = new RawClient(it.port);
  await open.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").until((text) => text.endsWith("stays"));
  it.running.update(listenerOptions([answering("stays")]), 60_000);
  const text = await open.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").until((all) => all.split("stays").length === 3);
  expect(text).not.toContain("connection: close");
});

const proxyFilter = (settings = {}) => ({
  listenerFilters: [
    {
      name: "proxy",
      typedConfig: {
        "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
        ...settings,
      },
    },
  ],
});
const GET = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

test("a PROXY header names the client, byte by byte, also before TLS", async () => {
  const chains = [
    answering("from 1.2.3.4", {
      filterChainMatch: { sourcePrefixRanges: [{ addressPrefix: "1.2.3.4", prefixLen: 32 }] },
    }),
    answering("tls from 1.2.3.5", {
      ...tlsOf(a),
      filterChainMatch: { sourcePrefixRanges: [{ addressPrefix: "1.2.3.5", prefixLen: 32 }] },
    }),
  ];
  await using it = await JsonListener.start(chains, proxyFilter());
  using plain = new RawClient(it.port);
  for (const byte of "PROXY TCP4 1.2.3.4 5.6.7.8 8080 80\r\n") {
    plain.send(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await plain.send(GET).end()).toMatch(/from 1.2.3.4$/);
  const raw = connectTcp(it.port, "127.0.0.1");
  raw.write("PROXY TCP4 1.2.3.5 5.6.7.8 8080 80\r\n");
  const socket = connect({ socket: raw, servername: "a.test", ...trust });
  await once(socket, "secureConnect");
  socket.write(GET);
  let text = "";
  for await (const bytes of socket) text += String(bytes);
  expect(text).toMatch(/tls from 1.2.3.5$/);
});

test.each([
  ["without a header", {}, GET, ""],
  ["with a broken one", {}, "PROXY TCP4 x\r\n", ""],
  ["without one, where it need not be", { allowRequestsWithoutProxyProtocol: true }, GET, "hello"],
  ["with a version that is not allowed", { disallowedVersions: ["V1"] }, `PROXY UNKNOWN\r\n${GET}`, ""],
])("PROXY: a connection %s", async (_, settings, bytes, expected) => {
  await using it = await JsonListener.start([answering("hello")], proxyFilter(settings));
  using raw = new RawClient(it.port);
  const answer = await raw.send(bytes).end();
  expect(answer.endsWith("hello")).toBe(expected === "hello");
});

test("a connection that does not say what it is in time is closed, or goes on", async () => {
  const inspector = {
    listenerFilters: [
      {
        name: "tls",
        typedConfig: { "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" },
      },
    ],
    listenerFiltersTimeout: "0.05s",
  };
  await using it = await JsonListener.start([answering("hello")], inspector);
  using silent = new RawClient(it.port);
  expect(await silent.end()).toBe("");
  it.running.update(
    listenerOptions([answering("hello")], { ...inspector, continueOnListenerFiltersTimeout: true }),
    100,
  );
  using patient = new RawClient(it.port);
  patient.send("\x16");
  expect(await patient.end()).toMatch(/^HTTP\/1.1 400 /);
});

const context = "filter_chains[0].transport_socket.typed_config";
test.each<[string, object, object, string]>([
  ["no certificate", {}, {}, `${context}.common_tls_context`],
  [
    "another's key",
    { tlsCertificates: [inlineCertificate({ ...a, key: b.key })] },
    {},
    `${context}.common_tls_context.tls_certificates[0].private_key`,
  ],
  [
    "a secret of a file",
    { tlsCertificateSdsSecretConfigs: [{ name: "s" }] },
    {},
    `${context}.common_tls_context.tls_certificate_sds_secret_configs[0].sds_config`,
  ],
  [
    "TLS 1.0",
    { tlsCertificates: [inlineCertificate(a)], tlsParams: { tlsMinimumProtocolVersion: "TLSv1_0" } },
    {},
    `${context}.common_tls_context.tls_params.tls_minimum_protocol_version`,
  ],
  [
    "an unknown cipher",
    { tlsCertificates: [inlineCertificate(a)], tlsParams: { ecdhCurves: ["nonsense"] } },
    {},
    `${context}.common_tls_context.tls_params.ecdh_curves`,
  ],
  [
    "strict stapling",
    { tlsCertificates: [inlineCertificate(a)] },
    { ocspStaplePolicy: "MUST_STAPLE" },
    `${context}.ocsp_staple_policy`,
  ],
])("refused: %s", (_, common, more, field) => {
  const compiled = compileJson([answering("", downstreamTls({ ...common }, { ...more }))]);
  expect(compiled.ok ? [] : compiled.problems.map((problem) => problem.field)).toEqual([field]);
});

test("a listener that drains lets a handshake come to its request", async () => {
  await using it = await JsonListener.start([answering("hello", tlsOf(a))]);
  const socket = await handshake(it.port);
  const drained = it.running.drain(60_000);
  socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  const [bytes] = (await once(socket, "data")) as [Buffer];
  expect(String(bytes)).toMatch(/connection: close[^]*hello$/);
  socket.end();
  await drained;
  await until(() => socket.destroyed);
});

test("a client that uses one port towards two addresses of a listener is answered on both", async () => {
  const further = { address: { socketAddress: { address: "127.0.0.2", portValue: 0 } } };
  await using it = await JsonListener.start([answering("hello", tlsOf(a))], { additionalAddresses: [further] });
  const addresses = it.running.sockets();
  expect(addresses.map(({ address }) => address)).toEqual(["127.0.0.1", "127.0.0.2"]);
  let localPort: number | undefined;
  const sockets = [];
  for (const { address, port } of addresses) {
    const socket = connectTcp({ host: address, port, localAddress: "127.0.0.9", ...(localPort && { localPort }) });
    await once(socket, "connect");
    localPort = socket.localPort;
    sockets.push(socket);
  }
  // Both shake hands at the same time, as far as the listener knows.
  await until(() => it.stats.get("listener.downstream_cx_active") === 2);
  for (const socket of sockets) {
    const secure = connect({ socket, servername: "a.test", ...trust });
    let text = "";
    secure.on("data", (bytes: Buffer) => (text += bytes.toString("latin1"))).on("error", () => {});
    secure.write("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    await until(() => text.endsWith("hello"));
  }
  await it.running.drain(60_000);
});
