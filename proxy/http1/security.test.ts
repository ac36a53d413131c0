/** The points of the security checklist (test/security.test.ts) that concern HTTP/1, as raw bytes through the real listener to a real origin. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, type DataPathOptions, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";

const HOST = "Host: h\r\n";
const CHUNKED = "Transfer-Encoding: chunked\r\n";

/** Sends the payload, followed by a harmless request that must not be served, and returns the answer and what the origin saw. */
async function attack(payload: string, changes: DataPathOptions = {}) {
  const seen: string[] = [];
  await using origin = await TestServer.http((request, response) => {
    seen.push(`${request.method} ${request.url} ${JSON.stringify(request.rawHeaders)}`);
    request.resume().on("end", () => response.end("ok"));
  });
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), ...changes });
  const answer = await exchange(path.port, `${payload}GET /second HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`);
  return { answer, seen, records: path.records };
}

const statusOf = (answer: string) => Number(answer.slice(9, 12));

const OPTIONS = Array.from({ length: 10 }, (_, n) => `x${n}`);

const refused: [title: string, payload: string, status?: number][] = [
  ["sec 1 content-length and chunked", `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n${CHUNKED}\r\n0\r\n\r\n`],
  ["sec 1 chunked and content-length", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}Content-Length: 3\r\n\r\n0\r\n\r\n`],
  ["sec 1 two different content-lengths", `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`],
  ["sec 1 two equal content-lengths", `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`],
  ["sec 1 content-length list", `POST / HTTP/1.1\r\n${HOST}Content-Length: 1,1\r\n\r\na`],
  ["sec 1 content-length with sign", `POST / HTTP/1.1\r\n${HOST}Content-Length: +1\r\n\r\na`],
  ["sec 1 negative content-length", `POST / HTTP/1.1\r\n${HOST}Content-Length: -1\r\n\r\na`],
  ["sec 1 empty content-length", `POST / HTTP/1.1\r\n${HOST}Content-Length: \r\n\r\n`],
  ["sec 1 hexadecimal content-length", `POST / HTTP/1.1\r\n${HOST}Content-Length: 0x1\r\n\r\na`],
  ["sec 1 endless content-length", `POST / HTTP/1.1\r\n${HOST}Content-Length: 99999999999999999999\r\n\r\na`],
  ["sec 1 space before the colon", `POST / HTTP/1.1\r\n${HOST}Content-Length : 1\r\n\r\na`],
  ["sec 1 obs-fold", `GET / HTTP/1.1\r\n${HOST}A: b\r\n c\r\n\r\n`],
  ["sec 1 obs-fold of the first field", `GET / HTTP/1.1\r\n Host: h\r\n\r\n`],
  ["sec 1 bare LF after the request line", `GET / HTTP/1.1\nHost: h\r\n\r\n`],
  ["sec 1 bare LF in a field", `GET / HTTP/1.1\r\n${HOST}A: b\nC: d\r\n\r\n`],
  ["sec 1 bare LF everywhere", `GET / HTTP/1.1\nHost: h\n\n`],
  ["sec 1 bare CR in a field", `GET / HTTP/1.1\r\n${HOST}A: b\rC: d\r\n\r\n`],
  ["sec 1 NUL in a field", `GET / HTTP/1.1\r\n${HOST}A: b\0\r\n\r\n`],
  ["sec 1 empty field name", `GET / HTTP/1.1\r\n${HOST}: b\r\n\r\n`],
  ["sec 1 field without colon", `GET / HTTP/1.1\r\n${HOST}abc\r\n\r\n`],
  ["sec 1 bad token character", `GET / HTTP/1.1\r\n${HOST}a(b: c\r\n\r\n`],
  ["sec 1 two spaces in the request line", `GET  / HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 1 trailing space in the request line", `GET / HTTP/1.1 \r\n${HOST}\r\n`],
  ["sec 1 tab in the request line", `GET\t/ HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 1 leading space", ` GET / HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 1 version 1.2", `GET / HTTP/1.2\r\n${HOST}\r\n`],
  ["sec 1 version 2.0", `GET / HTTP/2.0\r\n${HOST}\r\n`],
  ["sec 1 lower-case version", `GET / http/1.1\r\n${HOST}\r\n`],
  ["sec 1 no version", `GET /\r\n\r\n`],
  ["sec 1 HTTP/2 preface behind other bytes", "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["sec 1 TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ["sec 1 chunk size with 0x", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n0x1\r\na\r\n0\r\n\r\n`],
  ["sec 1 chunk size with trailing space", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n1 \r\na\r\n0\r\n\r\n`],
  ["sec 1 chunk size with bare LF", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n1\na\r\n0\r\n\r\n`],
  ["sec 1 no CRLF after chunk data", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n1\r\nab0\r\n\r\n`],
  ["sec 1 chunk size of 17 digits", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n00000000000000001\r\na\r\n0\r\n\r\n`],
  ["sec 1 negative chunk size", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n-1\r\na\r\n0\r\n\r\n`],
  ["sec 1 empty chunk size", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n\r\na\r\n0\r\n\r\n`],
  ["sec 1 chunk extension with bare LF", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n1;a\nb\r\na\r\n0\r\n\r\n`],
  ["sec 1 bare LF after the last chunk", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n0\n\n`],
  ["sec 9 malformed trailer", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n0\r\na b: c\r\n\r\n`],
  ["sec 2 unknown transfer coding", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, 501],
  ["sec 2 chunked, identity", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`, 501],
  ["sec 2 gzip, chunked", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
  ["sec 2 identity", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: identity\r\n\r\n`, 501],
  ["sec 2 chunked twice", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}${CHUNKED}\r\n0\r\n\r\n`, 501],
  ["sec 2 vertical tab", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`],
  ["sec 2 quoted", `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n`, 501],
  ["sec 3 no host", "GET / HTTP/1.1\r\n\r\n"],
  ["sec 3 duplicate host", `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n`],
  ["sec 3 empty host", "GET / HTTP/1.1\r\nHost: \r\n\r\n"],
  ["sec 3 user information in host", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"],
  ["sec 3 slash in host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"],
  ["sec 3 space in host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"],
  ["sec 3 port that is none", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"],
  ["sec 3 port of more than 16 bits", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"],
  ["sec 3 port of more than 16 bits in the target", `GET http://a:99999/ HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 3 high byte in host", "GET / HTTP/1.1\r\nHost: a\xe9\r\n\r\n"],
  ["sec 3 user information in the target", `GET http://a@b/ HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 fragment", `GET /a#b HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 escaped NUL", `GET /%00 HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 control character in the target", `GET /a\x01b HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 high byte in the target", `GET /\xe9 HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 target without a slash", `GET a HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 target of another scheme", `GET ftp://h/ HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 asterisk other than OPTIONS", `GET * HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 11 https target on a plain port", `GET https://h/ HTTP/1.1\r\n${HOST}\r\n`, 403],
  ["sec 7 CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 403],
  ["sec 10 head over 60 KiB", `GET / HTTP/1.1\r\n${HOST}A: ${"x".repeat(61_440)}\r\n\r\n`, 431],
  ["sec 10 head over 60 KiB without end", `GET / HTTP/1.1\r\n${HOST}A: ${"x".repeat(61_440)}`, 431],
  ["sec 10 more than 100 fields", `GET / HTTP/1.1\r\n${HOST}${"A: b\r\n".repeat(100)}\r\n`, 431],
  ["sec 10 target over 8 KiB", `GET /${"x".repeat(8_192)} HTTP/1.1\r\n${HOST}\r\n`, 414],
  ["sec 10 target over 8 KiB without end", `GET /${"x".repeat(9_000)}`, 414],
  [
    "sec 10 chunk extension bomb",
    `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n1;${"x".repeat(20_000)}\r\na\r\n0\r\n\r\n`,
    413,
  ],
  ["sec 10 trailer bomb", `POST / HTTP/1.1\r\n${HOST}${CHUNKED}\r\n0\r\n${"a: b\r\n".repeat(2_000)}\r\n`, 431],
  ["a method that nobody knows", `FOO / HTTP/1.1\r\n${HOST}\r\n`],
  ["a method in lower case", `get / HTTP/1.1\r\n${HOST}\r\n`],
  ["sec 5 Connection that names host", `GET / HTTP/1.1\r\n${HOST}Connection: host\r\n\r\n`],
  [
    "sec 5 Connection that names x-forwarded-for",
    `GET / HTTP/1.1\r\n${HOST}Connection: close, X-Forwarded-For\r\n\r\n`,
  ],
  ["sec 5 Connection that names x-forwarded-proto", `GET / HTTP/1.1\r\n${HOST}Connection: X-Forwarded-Proto\r\n\r\n`],
  ["sec 5 Connection with ten options", `GET / HTTP/1.1\r\n${HOST}Connection: ${OPTIONS.join(", ")}\r\n\r\n`],
  [
    "sec 5 as many in fields of their own",
    `GET / HTTP/1.1\r\n${HOST}${OPTIONS.map((option) => `Connection: ${option}\r\n`).join("")}\r\n`,
  ],
  ["sec 5 keep-alive ten times", `GET / HTTP/1.1\r\n${HOST}${"Connection: keep-alive\r\n".repeat(10)}\r\n`],
  [
    "sec 6 what else is upgraded to beside h2c",
    `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n`,
    403,
  ],
  ["HTTP/1.0 unless accepted", `GET / HTTP/1.0\r\n${HOST}\r\n`, 426],
];

test.each(refused)("%s is refused and the connection closed", async (_title, payload, status = 400) => {
  const { answer, seen, records } = await attack(payload);

  expect(statusOf(answer)).toBe(status);
  expect(answer).toContain("connection: close\r\n");
  expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1);
  expect(seen.filter((request) => request.includes("/second"))).toEqual([]);
  expect(records.map((record) => [record.protocol, record.status])).toEqual([["HTTP/1.1", status]]);
});

/** What reaches the origin after an accepted request; the harmless one follows. */
async function forwarded(request: string, changes: DataPathOptions = {}): Promise<string> {
  const { seen, answer } = await attack(request, changes);
  expect(seen, answer).toHaveLength(2);
  return seen[0] as string;
}

test("sec 1 a chunked body is framed anew, extensions and trailers dropped", async () => {
  const seen = await forwarded(
    `POST /a HTTP/1.1\r\n${HOST}${CHUNKED}\r\n3;x=y\r\nabc\r\n0\r\nContent-Length: 9\r\nX-Trailer: 1\r\n\r\n`,
  );
  expect(seen.toLowerCase()).toContain('"transfer-encoding","chunked"');
  expect(seen.toLowerCase()).not.toMatch(/content-length|x-trailer/);
});

test("sec 2 transfer-encoding on HTTP/1.0", async () => {
  const { answer, seen } = await attack(`POST / HTTP/1.0\r\n${HOST}${CHUNKED}\r\n0\r\n\r\n`, {
    http: { acceptHttp10: true },
  });
  expect(statusOf(answer)).toBe(400);
  expect(seen).toEqual([]);
});

test("sec 3 no host on HTTP/1.0, unless the target has one", async () => {
  const options = { http: { acceptHttp10: true } };
  const none = await attack("GET / HTTP/1.0\r\n\r\n", options);
  expect(statusOf(none.answer)).toBe(400);
  expect(none.seen).toEqual([]);
  const absolute = await attack("GET http://a:65535/ HTTP/1.0\r\n\r\n", options);
  expect(statusOf(absolute.answer)).toBe(200);
});

test("sec 3 the authority of an absolute target replaces Host", async () => {
  const seen = await forwarded("GET http://real:81/a HTTP/1.1\r\nHost: other\r\n\r\n");
  expect(seen).toMatch(/^GET \/a /);
  expect(seen).toContain('"host","real:81"');
  expect(seen).not.toContain("other");
});

test("sec 5 fields of this connection end here", async () => {
  const seen = await forwarded(
    `GET / HTTP/1.1\r\n${HOST}Connection: x-mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n` +
      "Proxy-Authorization: x\r\nTE: gzip, trailers\r\nTrailer: a\r\nX-Kept: 1\r\n\r\n",
  );
  expect(seen).not.toMatch(/x-mine|keep-alive|proxy-|trailer"|gzip/i);
  expect(seen).toContain('"te","trailers"');
  expect(seen).toContain('"x-kept","1"');
});

test("sec 5 Connection cannot take away what the gateway sets or what frames the message", async () => {
  const seen = await forwarded(
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\n` +
      "Authorization: a\r\nCookie: a=b\r\nConnection: content-length, authorization, cookie, x-request-id\r\n\r\na",
  );
  for (const name of ["host", "content-length", "authorization", "cookie", "x-forwarded-for", "x-request-id"]) {
    expect(seen).toContain(`"${name}",`);
  }
});

test("Proxy-Connection: close closes", async () => {
  const { answer, seen } = await attack(`GET / HTTP/1.1\r\n${HOST}Proxy-Connection: close\r\n\r\n`);
  expect(statusOf(answer)).toBe(200);
  expect(answer).toContain("connection: close\r\n");
  expect(seen).toHaveLength(1);
});

test("sec 6 h2c upgrades are dropped", async () => {
  const seen = await forwarded(
    `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n`,
  );
  expect(seen).not.toMatch(/upgrade|http2-settings/i);
});

test("sec 6 an upgrade that is not switched on is forbidden", async () => {
  const { answer, seen } = await attack(`GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  expect(statusOf(answer)).toBe(403);
  expect(seen).toEqual([]);
});

test.each([
  ["/a/../b", "/b"],
  ["/a/./b", "/a/b"],
  ["/a/%2e%2e/b", "/b"],
  ["/../../etc", "/etc"],
  ["/a/..;/b", "/b"],
  ["/a\\..\\b", "/b"],
  ["/a%2Fb", "/a%2Fb"],
  ["/%252e%252e/a", "/%252e%252e/a"],
  ["//a", "//a"],
  ["/a%0d%0ab", "/a%0d%0ab"],
  ["/a?x=/../y", "/a?x=/../y"],
])("sec 11 %s is routed and forwarded as %s", async (target, path) => {
  expect(await forwarded(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`)).toMatch(
    new RegExp(`^GET ${path.replace(/[\\^$*+?.()|[\]{}]/g, "\\$&")} `),
  );
});

test("sec 11 escaped slashes are refused, redirected or decoded as configured", async () => {
  const target = `GET /a%2Fb%5Cc HTTP/1.1\r\n${HOST}\r\n`;
  expect(statusOf((await attack(target, { http: { escapedSlashes: "reject" } })).answer)).toBe(400);
  expect((await attack(target, { http: { escapedSlashes: "redirect" } })).answer).toMatch(
    /^HTTP\/1.1 307[^]*location: \/a\/b\/c\r\n/,
  );
  expect(await forwarded(target, { http: { escapedSlashes: "forward" } })).toMatch(/^GET \/a\/b\/c /);
});

test.each([
  ["/%2Fevil.example.com/%2F..", true, "/.//evil.example.com/"],
  ["//evil.example.com/%2f?x=//y", true, "/.//evil.example.com//?x=//y"],
  ["/a/..%2F/evil.example.com", true, "/.//evil.example.com"],
  ["/%5Cevil.example.com", true, "/.//evil.example.com"],
  ["/%5Cevil.example.com", false, "/./\\evil.example.com"],
])("sec 11 escaped slashes lead to no other host: %s (normalised: %s)", async (target, normalizePath, location) => {
  const http = { escapedSlashes: "redirect", normalizePath } as const;
  const { answer } = await attack(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`, { http });
  expect(/^location: (.*)\r$/m.exec(answer)?.[1]).toBe(location);
  // As a browser reads it.
  expect(new URL(location, "http://test.example.com/").host).toBe("test.example.com");
});

test("sec 12 underscores in names are let through, dropped or refused as configured", async () => {
  const request = `GET / HTTP/1.1\r\n${HOST}a_b: 1\r\n\r\n`;
  expect(await forwarded(request)).toContain("a_b");
  expect(await forwarded(request, { http: { headersWithUnderscores: "drop" } })).not.toContain("a_b");
  expect(statusOf((await attack(request, { http: { headersWithUnderscores: "reject" } })).answer)).toBe(400);
});

test("sec 13 what a client says of itself is replaced at the edge", async () => {
  const seen = await forwarded(
    `GET / HTTP/1.1\r\n${HOST}X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\n` +
      "X-Request-Id: mine\r\nX-Envoy-Retry-On: 5xx\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 1\r\nX-Envoy-External-Address: 9.9.9.9\r\n" +
      "X-Forwarded-Client-Cert: forged\r\n\r\n",
  );
  expect(seen).toContain('"x-forwarded-for","1.2.3.4,5.6.7.8,127.0.0.1"');
  expect(seen).toContain('"x-forwarded-proto","http"');
  expect(seen).toContain('"x-envoy-external-address","127.0.0.1"');
  expect(seen).not.toMatch(/mine|retry-on|upstream-rq-timeout|forged|9\.9\.9\.9/);
  expect(seen).toMatch(/"x-request-id","[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"/);
});

test("an unknown method passes, and one empty line before a request", async () => {
  expect(await forwarded(`\r\nPURGE /x HTTP/1.1\r\n${HOST}\r\n`).catch(() => "PURGE")).toMatch(/^PURGE/);
});
