/** HTTP/2 over TLS, where ALPN decides. */
import { connect } from "node:http2";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { once } from "node:events";

import { afterAll, expect, test } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { until } from "../../test/support/wait.ts";
import { answering, downstreamTls, inlineCertificate, JsonListener } from "../../test/support/json-listener.ts";

const authority = new TestAuthority();
afterAll(() => authority[Symbol.dispose]());
const certificate = authority.issue({ name: "a", altNames: ["DNS:a.test"] });
const tls = (...alpnProtocols: string[]) =>
  downstreamTls({ tlsCertificates: [inlineCertificate(certificate)], alpnProtocols });

const OPTIONS = { ca: authority.cert, servername: "a.test" };

test("h2 where both sides have it, HTTP/1.1 where the client hasn't", async () => {
  await using it = await JsonListener.start([answering("hello", tls("h2", "http/1.1"))]);
  const session = connect(`https://127.0.0.1:${it.port}`, OPTIONS);
  await once(session, "connect");
  expect(session.alpnProtocol).toBe("h2");
  const stream = session.request({ ":authority": "a.test" });
  let body = "";
  stream.setEncoding("utf8").on("data", (piece: string) => (body += piece));
  await once(stream, "close");
  expect(body).toBe("hello");
  session.destroy();

  const old = request({
    host: "127.0.0.1",
    port: it.port,
    ...OPTIONS,
    headers: { host: "a.test" },
    agent: false,
  }).end();
  const [response] = (await once(old, "response")) as [IncomingMessage];
  expect(response.httpVersion).toBe("1.1");
  response.resume();
});

test("a listener that offers only HTTP/1.1 speaks no HTTP/2", async () => {
  await using it = await JsonListener.start([answering("hello", tls("http/1.1"))]);
  const session = connect(`https://127.0.0.1:${it.port}`, OPTIONS);
  let failed = false;
  session.on("error", () => (failed = true));
  await until(() => session.destroyed || failed);
  expect(session.alpnProtocol).not.toBe("h2");
});
