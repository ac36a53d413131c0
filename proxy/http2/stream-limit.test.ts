/**
 * node:http2 counts streams against the limit that clients were told until they are destroyed here. So when a client sees the end of a response,
 * and may open another stream in its place, the one before must be gone already.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { createServer, type ServerHttp2Stream } from "node:http2";

import { afterAll, expect, test } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { Http2Client } from "../../test/support/http2-client.ts";
import { answering, downstreamTls, inlineCertificate, JsonListener } from "../../test/support/json-listener.ts";

const authority = new TestAuthority();
afterAll(() => authority[Symbol.dispose]());
const certificate = authority.issue({ name: "a", altNames: ["DNS:a.test"] });
const tls = downstreamTls({ tlsCertificates: [inlineCertificate(certificate)], alpnProtocols: ["h2"] });

/** The streams that a server has made since it was asked for. */
function watchStreams() {
  const streams: ServerHttp2Stream[] = [];
  const onCreated = (message: unknown) => void streams.push((message as { stream: ServerHttp2Stream }).stream);
  subscribe("http2.server.stream.created", onCreated);
  return { streams, [Symbol.dispose]: () => unsubscribe("http2.server.stream.created", onCreated) };
}

/** Asks once, and says at the moment when the response has ended whether the server (the first that made a stream) still has the stream. */
async function isOpenAtEnd(client: Http2Client, headers: Record<string, string>, body: string | undefined) {
  using watched = watchStreams();
  const stream = client.session.request({ ":authority": "a.test", ...headers }, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  return await new Promise<boolean | undefined>((resolve, reject) => {
    stream
      .on("error", reject)
      .resume()
      .on("end", () => resolve(watched.streams[0] && !watched.streams[0].destroyed));
  });
}

const requests = {
  GET: [{}, undefined],
  POST: [{ ":method": "POST" }, "b".repeat(500)],
} as const;

test.each(Object.entries(requests))(
  "%s over TLS: a stream is gone when its response has ended",
  async (_, [headers, body]) => {
    await using it = await JsonListener.start([answering("x".repeat(300), tls)]);
    await using client = new Http2Client(it.port, { ca: authority.cert, servername: "a.test" }, "https");
    for (let n = 0; n < 20; n++) expect(await isOpenAtEnd(client, headers, body)).toBe(false);
  },
);

test.each(Object.entries(requests))("%s: a stream is gone when its response has ended", async (_, [headers, body]) => {
  await using it = await JsonListener.start([answering("x".repeat(300))]);
  await using client = new Http2Client(it.port);
  for (let n = 0; n < 20; n++) expect(await isOpenAtEnd(client, headers, body)).toBe(false);
});

test.each(Object.entries(requests))(
  "%s: a stream with trailers of an upstream is gone when its response has ended",
  async (_, [headers, body]) => {
    const server = createServer((request, response) => {
      request.resume().on("end", () => {
        response.addTrailers({ "grpc-status": "0" });
        response.end("x".repeat(300));
      });
    });
    await using origin = await TestServer.listen(server as never);
    await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)], { protocol: "http2" }) });
    await using client = new Http2Client(path.port);
    for (let n = 0; n < 20; n++) expect(await isOpenAtEnd(client, headers, body)).toBe(false);
  },
);
