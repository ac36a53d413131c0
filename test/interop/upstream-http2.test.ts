/** The same clusters to Envoy and to the native proxy: what HTTP/2 and TLS upstreams do wrong becomes the same answer. */
import { createSecureServer } from "node:http2";

import { fromJson, type JsonObject, type Message } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { registry } from "#proto/registry.ts";

import { AdsServer } from "../support/ads-server.ts";
import { TestAuthority } from "../support/certificates.ts";
import { TestServer } from "../support/data-path.ts";
import { listener } from "../support/envoy-resources.ts";
import { startEnvoy, startProxy } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import type { Program } from "../support/processes.ts";
import { END_STREAM, frame, frames, head, rawHttp2Origin, uint32 } from "../support/raw-http2-origin.ts";
import { envoy } from "../support/tools.ts";
import { waitFor } from "../support/wait.ts";

const answers: Record<string, (streamId: number) => Buffer> = {
  ok: (id) => Buffer.concat([head(id, 0, [":status", "200"]), frame(frames.data, END_STREAM, id, "hello")]),
  "trailers-only": (id) => head(id, END_STREAM, [":status", "200"], ["grpc-status", "5"]),
  refused: (id) => frame(frames.rstStream, 0, id, uint32(7)),
  "internal error": (id) => frame(frames.rstStream, 0, id, uint32(2)),
  cancel: (id) => frame(frames.rstStream, 0, id, uint32(8)),
  "no status": (id) => head(id, END_STREAM, ["x", "y"]),
  "upper case": (id) => head(id, END_STREAM, [":status", "200"], ["X", "y"]),
  "connection field": (id) => head(id, END_STREAM, [":status", "200"], ["connection", "close"]),
  "not a frame": () => Buffer.alloc(200, 0xff),
};

const authority = new TestAuthority();
const stranger = new TestAuthority("stranger");
const origins: TestServer[] = [];
const programs: Program[] = [];
const servers: AdsServer[] = [];
const ports: Record<string, number> = {};

const options = (http: JsonObject): JsonObject => ({
  "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    ...http,
  },
});

const clusterAt = (name: string, port: number, more: JsonObject): Message =>
  fromJson(
    ClusterSchema,
    {
      name,
      type: "STATIC",
      connectTimeout: "60s",
      loadAssignment: {
        clusterName: name,
        endpoints: [
          { lbEndpoints: [{ endpoint: { address: { socketAddress: { address: "127.0.0.1", portValue: port } } } }] },
        ],
      },
      ...more,
    },
    { registry },
  );

const tls = (context: JsonObject, alpnProtocols: string[] = []): JsonObject => ({
  transportSocket: {
    name: "tls",
    typedConfig: {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
      sni: "origin.test",
      commonTlsContext: { alpnProtocols, validationContext: context },
    },
  },
});

async function clusters(): Promise<Map<string, Message>> {
  const all = new Map<string, Message>();
  const http2 = { typedExtensionProtocolOptions: options({ explicitHttpConfig: { http2ProtocolOptions: {} } }) };
  for (const [name, answer] of Object.entries(answers)) {
    const origin = await rawHttp2Origin(answer);
    origins.push(origin);
    all.set(name, clusterAt(name, origin.port, http2));
  }
  const own = authority.issue({ name: "origin", altNames: ["DNS:origin.test"] });
  const secure = await TestServer.listen(
    createSecureServer({ ...own, allowHTTP1: true }, (request, response) => response.end(request.httpVersion)),
  );
  origins.push(secure);
  const trust = (ca: string) => ({ trustedCa: { inlineString: ca } });
  const san = (exact: string) => ({ matchTypedSubjectAltNames: [{ sanType: "DNS", matcher: { exact } }] });
  const auto = { typedExtensionProtocolOptions: options({ autoConfig: { http2ProtocolOptions: {} } }) };
  all.set("tls auto", clusterAt("tls auto", secure.port, { ...auto, ...tls(trust(authority.cert)) }));
  all.set("tls http/1.1", clusterAt("tls http/1.1", secure.port, tls(trust(authority.cert), ["http/1.1"])));
  all.set("tls stranger", clusterAt("tls stranger", secure.port, tls(trust(stranger.cert))));
  all.set(
    "tls other name",
    clusterAt("tls other name", secure.port, tls({ ...trust(authority.cert), ...san("other.test") })),
  );
  all.set(
    "tls other hash",
    clusterAt(
      "tls other hash",
      secure.port,
      tls({ ...trust(authority.cert), verifyCertificateHash: ["0".repeat(64)] }),
    ),
  );
  all.set("nobody there", clusterAt("nobody there", await freePort(), http2));
  return all;
}

beforeAll(async () => {
  const all = await clusters();
  const routes = fromJson(RouteConfigurationSchema, {
    name: "r",
    virtualHosts: [
      {
        name: "all",
        domains: ["*"],
        routes: [...all.keys()].map((cluster) => ({ match: { path: pathOf(cluster) }, route: { cluster } })),
      },
    ],
  });
  const start = async (plane: string, run: (xdsPort: number) => Promise<{ program: Program }>) => {
    const ads = await AdsServer.start();
    servers.push(ads);
    const port = await freePort();
    ports[plane] = port;
    const running = run(ads.port);
    running.catch(() => {}); // Told below.
    await ads.request(({ typeUrl }) => typeUrl.endsWith("Cluster"));
    ads.send(
      "CDS",
      [...all].map(([name, body]) => ({ name, body })),
    );
    await ads.request(({ typeUrl }) => typeUrl.endsWith("Listener"));
    ads.send("LDS", [{ name: "l", body: listener("l", port, "r") }]);
    await ads.subscriptionTo("RDS", "r");
    ads.send("RDS", [{ name: "r", body: routes }]);
    programs.push((await running).program);
    await waitFor(`traffic on ${plane}`, async () => (await ask(port, { path: pathOf("ok") })).status === 200);
  };
  const envoyPath = await envoy();
  await start("native", (port) => startProxy(port));
  await start("envoy", (port) => startEnvoy(envoyPath, port));
});

afterAll(async () => {
  for (const program of programs) await program.stop();
  for (const server of servers) server.close();
  for (const origin of origins) await origin[Symbol.asyncDispose]();
  authority[Symbol.dispose]();
  stranger[Symbol.dispose]();
});

const pathOf = (cluster: string) => `/${encodeURIComponent(cluster)}`;

async function outcome(plane: "native" | "envoy", cluster: string) {
  const { status, body } = await ask(ports[plane] as number, { path: pathOf(cluster) });
  return `${status} ${body}`;
}

test.each([
  ...Object.keys(answers),
  "tls auto",
  "tls http/1.1",
  "nobody there",
  "tls stranger",
  "tls other name",
  "tls other hash",
])("%s", async (cluster) => {
  const [native, theirs] = [await outcome("native", cluster), await outcome("envoy", cluster)];
  expect(native).toBe(theirs);
});
