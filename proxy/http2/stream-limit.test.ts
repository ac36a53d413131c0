/** A stream that was answered is over, and counts no more against the limit that clients were told, when the client sees the end of the response. */
import { createServer } from "node:http2";

import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, expect, test } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { until } from "../../test/support/wait.ts";
import { Http2Client } from "../../test/support/http2-client.ts";
import { answering, downstreamTls, inlineCertificate, JsonListener } from "../../test/support/json-listener.ts";
import { edgeDefaults } from "./options.ts";

const authority = new TestAuthority();
afterAll(() => authority[Symbol.dispose]());
const certificate = authority.issue({ name: "a", altNames: ["DNS:a.test"] });
const tls = downstreamTls({ tlsCertificates: [inlineCertificate(certificate)], alpnProtocols: ["h2"] });

/** Answers by itself, and lets clients have one stream open at a time. */
function oneByOne(more: JsonObject = {}): JsonObject {
  const chain = answering("x".repeat(300), more) as { filters: { typedConfig: Record<string, JsonObject> }[] };
  for (const { typedConfig } of chain.filters) typedConfig["http2ProtocolOptions"] = { maxConcurrentStreams: 1 };
  return chain as unknown as JsonObject;
}

/** Asks twenty times, each time at the moment when the response before has ended; returns how many requests were refused. */
async function refusals(client: Http2Client, headers: Record<string, string>, body: string | undefined) {
  await until(() => client.session.remoteSettings.maxConcurrentStreams === 1);
  let refused = 0;
  for (let n = 0; n < 20; n++) {
    const stream = client.session.request({ ":authority": "a.test", ...headers }, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
    await new Promise<void>((resolve) => {
      stream
        .on("error", () => {})
        .resume()
        .on("end", () => {
          if (stream.rstCode !== 0) refused++;
          resolve();
        });
    });
  }
  return refused;
}

const requests = {
  GET: [{}, undefined],
  POST: [{ ":method": "POST" }, "b".repeat(500)],
} as const;

test.each(Object.entries(requests))("%s over TLS: the next stream is not one too many", async (_, [headers, body]) => {
  await using it = await JsonListener.start([oneByOne(tls)]);
  await using client = new Http2Client(it.port, { ca: authority.cert, servername: "a.test" }, "https");
  expect(await refusals(client, headers, body)).toBe(0);
});

test.each(Object.entries(requests))("%s: the next stream is not one too many", async (_, [headers, body]) => {
  await using it = await JsonListener.start([oneByOne()]);
  await using client = new Http2Client(it.port);
  expect(await refusals(client, headers, body)).toBe(0);
});

test.each(Object.entries(requests))(
  "%s with trailers of an upstream: the next stream is not one too many",
  async (_, [headers, body]) => {
    const server = createServer((request, response) => {
      request.resume().on("end", () => {
        response.addTrailers({ "grpc-status": "0" });
        response.end("x".repeat(300));
      });
    });
    await using origin = await TestServer.listen(server as never);
    await using path = await DataPath.start({
      cluster: clusterOf([endpointAt(origin.port)], { protocol: "http2" }),
      http: { http2: { ...edgeDefaults, maxConcurrentStreams: 1 } },
    });
    await using client = new Http2Client(path.port);
    expect(await refusals(client, headers, body)).toBe(0);
  },
);
