/** TLS to origins. testdata/origin.*.pem: self-signed for origin.test and 127.0.0.1, valid for a century, made with openssl req -x509. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createServer } from "node:tls";

import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, exchange, TestServer, until } from "../../test/support/data-path.ts";
import type { UpstreamTls } from "../cluster/cluster.ts";

const read = (name: string) => readFileSync(join(import.meta.dirname, "testdata", name), "utf8");
const [key, cert] = [read("origin.key.pem"), read("origin.cert.pem")];
const body = "x".repeat(200_000);

async function request(tls: Partial<UpstreamTls>) {
  const names: (string | false | null | undefined)[] = [];
  const server = createServer({ key, cert }, (socket) => {
    names.push(socket.servername);
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      if (bytes.includes("\r\n\r\n")) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    });
  });
  server.on("tlsClientError", () => {});
  await using origin = await TestServer.listen(server);
  const settings: UpstreamTls = { sni: "origin.test", verify: true, ca: cert, subjectAltNames: [], ...tls };
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)], { tls: settings }) });
  const get = "GET / HTTP/1.1\r\nHost: h\r\n";
  const text = await exchange(path.port, `${get}\r\n${get}Connection: close\r\n\r\n`);
  return { text, names, record: path.records[0], accepted: origin.accepted };
}

test("a verified origin is asked by its name, on one connection", async () => {
  const { text, names, accepted } = await request({ subjectAltNames: ["other.test", "origin.test"] });
  expect(text.split(body)).toHaveLength(3);
  expect(names).toEqual(["origin.test"]);
  expect(accepted).toBe(1);
});

test.each<[string, Partial<UpstreamTls>]>([
  ["an unknown authority", { ca: undefined }],
  ["none of the names", { subjectAltNames: ["other.test"] }],
])("a certificate with %s is 503 with UF", async (_title, tls) => {
  const { text, record } = await request(tls);
  expect(text).toMatch(/^HTTP\/1.1 503 [^]*reset reason: remote connection failure/);
  expect(record?.flags).toEqual(["UF"]);
  expect(record?.upstreamTransportFailure).toBeTruthy();
});

test("without verification any certificate will do", async () => {
  expect((await request({ ca: undefined, verify: false, subjectAltNames: [] })).text).toMatch(/^HTTP\/1.1 200 OK/);
});

test("an origin that doesn't speak TLS is 503 with UF, and leaves nothing behind", async () => {
  await using origin = await TestServer.raw((socket) => socket.end("HTTP/1.1 400 No\r\n\r\n"));
  const tls: UpstreamTls = { sni: "", verify: true, ca: cert, subjectAltNames: [] };
  const cluster = clusterOf([endpointAt(origin.port)], { tls });
  await using path = await DataPath.start({ cluster });
  expect(await exchange(path.port, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).toMatch(
    /^HTTP\/1.1 503 /,
  );
  await until(() => cluster.load.connections === 0);
  expect(cluster.load).toEqual({ connections: 0, pending: 0, requests: 0, retries: 0 });
});
