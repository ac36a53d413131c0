/** What endpoints' metadata decide: by which transport socket they are reached, and what consistent hashing knows them by. */
import { createServer } from "node:https";

import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { TestAuthority } from "../support/certificates.ts";
import { TestServer } from "../support/data-path.ts";
import { startTwins, type Twins } from "../support/twins.ts";
import { startUpstream } from "../support/upstream.ts";

const cleanup = new AsyncDisposableStack();
let twins: Twins;

const tls: JsonObject = {
  name: "tls",
  typedConfig: {
    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    sni: "origin.test",
  },
};
const plain: JsonObject = {
  name: "plain",
  typedConfig: { "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" },
};
const labels = (match: JsonObject): JsonObject => ({
  metadata: { filterMetadata: { "envoy.transport_socket_match": match } },
});

interface Wish {
  readonly endpoint?: JsonObject;
  readonly locality?: JsonObject;
  readonly cluster: JsonObject;
}

/** Each of one endpoint, which speaks TLS, or plain text where its name says so. */
const wishes: Record<string, Wish> = {
  "a label of the endpoint": {
    endpoint: labels({ secure: true, zone: "x" }),
    cluster: { transportSocketMatches: [{ name: "a", match: { secure: true }, transportSocket: tls }] },
  },
  "a label of its locality": {
    locality: labels({ secure: true }),
    cluster: { transportSocketMatches: [{ name: "a", match: { secure: true }, transportSocket: tls }] },
  },
  "the endpoint's label before that of the locality": {
    endpoint: labels({ kind: "b" }),
    locality: labels({ kind: "a" }),
    cluster: {
      transportSocketMatches: [
        { name: "a", match: { kind: "a" }, transportSocket: plain },
        { name: "b", match: { kind: "b" }, transportSocket: tls },
      ],
    },
  },
  "several labels, lists and structures": {
    endpoint: labels({ a: [1, { b: null, c: "d" }], e: 2 }),
    cluster: {
      transportSocketMatches: [
        { name: "a", match: { a: [1, { c: "d" }], e: 2 }, transportSocket: plain },
        { name: "b", match: { e: 2, a: [1, { c: "d", b: null }] }, transportSocket: tls },
      ],
    },
  },
  "a match of no labels": {
    cluster: { transportSocketMatches: [{ name: "all", match: {}, transportSocket: tls }] },
  },
  "the cluster's own where nothing fits": {
    endpoint: labels({ secure: "yes" }),
    cluster: {
      transportSocket: tls,
      transportSocketMatches: [{ name: "a", match: { secure: true }, transportSocket: plain }],
    },
  },
  "plain where nothing fits and the cluster has none": {
    endpoint: labels({ secure: "no" }),
    cluster: { transportSocketMatches: [{ name: "a", match: { secure: true }, transportSocket: tls }] },
  },
};

const address = (port: number): JsonObject => ({
  address: { socketAddress: { address: "127.0.0.1", portValue: port } },
});
const cluster = (endpoints: JsonObject[], locality: JsonObject = {}, more: JsonObject = {}): JsonObject => ({
  ...{ type: "STATIC", connectTimeout: "60s" },
  loadAssignment: { clusterName: "c", endpoints: [{ lbEndpoints: endpoints, ...locality }] },
  ...more,
});

const KEYS = ["first", "second", "third"];

beforeAll(async () => {
  const authority = new TestAuthority();
  cleanup.defer(() => authority[Symbol.dispose]());
  const own = authority.issue({ name: "origin", altNames: ["DNS:origin.test"] });
  const secure = cleanup.use(
    await TestServer.listen(createServer({ ...own, keepAliveTimeout: 0 }, (_, response) => response.end("secure"))),
  );
  const open = cleanup.use(await TestServer.http((_, response) => response.end("plain")));
  const clusters: Record<string, JsonObject> = {};
  for (const [name, wish] of Object.entries(wishes)) {
    const { port } = name.startsWith("plain") ? open : secure;
    clusters[name] = cluster([{ endpoint: address(port), ...wish.endpoint }], wish.locality, wish.cluster);
  }
  const named: JsonObject[] = [];
  for (const key of KEYS) {
    const up = await startUpstream(key);
    cleanup.defer(() => up.close());
    named.push({ endpoint: address(up.port), metadata: { filterMetadata: { "envoy.lb": { hash_key: key } } } });
  }
  for (const lbPolicy of ["RING_HASH", "MAGLEV"]) clusters[lbPolicy] = cluster(named, {}, { lbPolicy });
  twins = await startTwins({
    clusters,
    listeners: {
      main: {
        routeConfig: {
          name: "table",
          virtualHosts: [
            {
              name: "all",
              domains: ["*"],
              routes: Object.keys(clusters).map((name) => ({
                match: { prefix: "/", headers: [{ name: "x-cluster", stringMatch: { exact: name } }] },
                route: { cluster: name, hashPolicy: [{ header: { headerName: "x-user" } }] },
              })),
            },
          ],
        },
      },
    },
  });
  cleanup.defer(() => twins.stop());
});

afterAll(() => cleanup.disposeAsync());

test.each(Object.keys(wishes))("%s", async (name) => {
  const { native, envoy } = await twins.ask("main", { headers: { "x-cluster": name } });
  expect([native.status, native.body]).toEqual([envoy.status, envoy.body]);
  expect(native.status).toBe(200);
});

test.each(["RING_HASH", "MAGLEV"])("%s goes by hash keys", async (name) => {
  const seen = new Set<unknown>();
  for (let user = 0; user < 24; user++) {
    const headers = { "x-cluster": name, "x-user": `user-${user}` };
    const { native, envoy } = await twins.ask("main", { headers });
    expect(native.headers["x-upstream"]).toBe(envoy.headers["x-upstream"]);
    seen.add(native.headers["x-upstream"]);
  }
  expect(seen).toEqual(new Set(KEYS));
});
