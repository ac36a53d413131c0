import { createServer, type Server } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

import { create, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";

import { NodeSchema } from "#envoy/config/core/v3/base_pb.ts";
import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import { supportedFields } from "../supported-fields.ts";
import { Configuration } from "./configuration.ts";
import type { ResourceUpdate } from "./graph.ts";
import { backOffMs, runAdsClient } from "./stream.ts";
import { AdsServer } from "../../test/support/ads-server.ts";
import { assignment, cluster, listener, routes } from "../../test/support/envoy-resources.ts";
import { freePort } from "../../test/support/ports.ts";
import { waitFor } from "../../test/support/wait.ts";

const node = create(NodeSchema, { id: "n", cluster: "default" });

let server: AdsServer;
let configuration: Configuration;
let stop: AbortController;
let running: Promise<void>;
let applied: string[];
/** What the data path needs until it has what is applied in use. */
let inUse: Promise<void> | undefined;

beforeEach(async () => {
  // A port that nobody else is given while the server is away.
  server = await AdsServer.start(await freePort());
  start();
});

afterEach(async () => {
  await end();
  server.close();
});

function start(): void {
  applied = [];
  inUse = undefined;
  stop = new AbortController();
  configuration = new Configuration({
    decoder: { fields: supportedFields, validate: () => [] },
    apply: (updates) => {
      applied.push(...updates.map(short));
      return inUse;
    },
    log: pino({ level: "silent" }),
  });
  running = runAdsClient({ server: server.address, node, signal: stop.signal }, configuration);
}

async function end(): Promise<void> {
  stop.abort();
  await running;
  configuration.close();
}

const short = ({ typeUrl, name, resource }: ResourceUpdate) => {
  const shortName = (["CDS", "EDS", "LDS", "RDS"] as const).find((one) => resourceType(one).typeUrl === typeUrl);
  return `${resource === null ? "-" : "+"}${shortName} ${name}`;
};

const of = (shortName: ResourceType["shortName"]) => {
  const { typeUrl } = resourceType(shortName);
  return (request: { typeUrl: string }) => request.typeUrl === typeUrl;
};

/** Sends, waits for the answer, and gives the text of the NACK, or "" for an ACK. */
async function exchange(...response: Parameters<AdsServer["send"]>): Promise<string> {
  const { errorDetail } = await server.answerTo(server.send(...response));
  return errorDetail?.message ?? "";
}

/** A listener "l", its routes "r", the cluster "a" with an endpoint: all accepted. Gives the listener's port. */
async function firstSync(): Promise<number> {
  await server.request(of("LDS"));
  const port = await freePort();
  expect(await exchange("CDS", [{ name: "a", body: cluster("a") }])).toBe("");
  await server.subscriptionTo("EDS", "a");
  expect(await exchange("EDS", [{ name: "a", body: assignment("a", 9101) }])).toBe("");
  expect(await exchange("LDS", [{ name: "l", body: listener("l", port, "r") }])).toBe("");
  await server.subscriptionTo("RDS", "r");
  expect(await exchange("RDS", [{ name: "r", body: routes("r", { "/": "a" }) }])).toBe("");
  return port;
}

test("T1 the node goes with the first request of a stream only", async () => {
  await server.request(of("LDS"));
  expect(server.requests.map((request) => request.node?.id)).toEqual(["n", undefined]);
});

test("the first sync asks for what is named, applies whole graphs, and makes the proxy live", async () => {
  expect(configuration.live).toBe(false);
  await firstSync();
  expect(applied).toEqual(["+CDS a", "+EDS a", "+RDS r", "+LDS l"]);
  expect(configuration.live).toBe(true);
});

test("S4 a response is answered once the data path has in use what came of it; what follows from it is asked for behind that", async () => {
  await firstSync();
  const used = Promise.withResolvers<void>();
  inUse = used.promise;
  let isUsed = false;
  const nonce = server.send("CDS", [
    { name: "a", version: "2", body: cluster("a") },
    { name: "b", body: cluster("b") },
  ]);
  const wasUsed = server.answerTo(nonce).then(() => isUsed);
  await waitFor("the cluster to be put to use", () => applied.at(-1) === "+CDS a");
  // Whoever doesn't wait for it has answered by then.
  setTimeout(() => {
    isUsed = true;
    used.resolve();
  }, 200);
  expect(await wasUsed).toBe(true);
  const asked = await server.subscriptionTo("EDS", "b");
  expect(server.requests.indexOf(asked)).toBeGreaterThan(server.requests.indexOf(await server.answerTo(nonce)));
});

test("live without a single listener: that is a configuration, too", async () => {
  await server.request(of("LDS"));
  await exchange("CDS", []);
  expect(configuration.live).toBe(false);
  await exchange("LDS", []);
  expect(configuration.live).toBe(true);
});

test("D12 of a NACKed response the good resources are used, and a bad one keeps its last good version", async () => {
  await firstSync();
  const nack = await exchange("CDS", [
    { name: "a", version: "2", body: Uint8Array.of(0xff) },
    { name: "b", version: "1", body: cluster("b") },
    { name: "c", version: "1", body: cluster("not c") },
  ]);
  expect(nack).toMatch(/^CDS: 2 resources refused: a: it cannot be read as .* \| c: name: it is "not c"/);
  await server.subscriptionTo("EDS", "b");
  expect(configuration.active(resourceType("CDS")).get("a")?.version).toBe("1");
  expect(configuration.refused(resourceType("CDS")).get("a")?.version).toBe("2");
  await exchange("CDS", [{ name: "a", version: "3", body: cluster("a") }]);
  expect([...configuration.refused(resourceType("CDS")).keys()]).toEqual(["c"]);
});

test("S14 a name that is twice in a response, and S18 a type that is not the response's, are refused", async () => {
  await server.request(of("LDS"));
  expect(
    await exchange("CDS", [
      { name: "a", body: cluster("a") },
      { name: "a", body: cluster("a") },
    ]),
  ).toBe("CDS: 1 resource refused: a: name: it is twice in one response");
});

test("a removed listener goes with its routes, and their name is given up", async () => {
  await firstSync();
  applied.length = 0;
  expect(await exchange("LDS", [], ["l"])).toBe("");
  await server.request((request) => request.resourceNamesUnsubscribe.includes("r"));
  expect(applied).toEqual(["-LDS l", "-RDS r"]);
});

test("W8 D9 after a stream is lost a new one names all, with the versions held, and nothing is applied meanwhile", async () => {
  await firstSync();
  const before = server.requests.length;
  applied.length = 0;
  server.endStream("gone");
  const clusters = await server.request(of("CDS"), before);
  expect(clusters.resourceNamesSubscribe).toEqual(["*"]);
  expect(clusters.initialResourceVersions).toEqual({ a: "1" });
  expect(clusters.node?.id).toBe("n");
  expect((await server.subscriptionTo("EDS", "a", before)).initialResourceVersions).toEqual({ a: "1" });
  expect((await server.subscriptionTo("RDS", "r", before)).initialResourceVersions).toEqual({ r: "1" });
  expect(applied).toEqual([]);
  expect(configuration.live).toBe(true);
});

test("W8 a control plane that comes back on its address is found again", async () => {
  await firstSync();
  const { port } = server;
  server.close();
  server = await AdsServer.start(port);
  expect((await server.request(of("CDS"))).initialResourceVersions).toEqual({ a: "1" });
});

test("T7 a response of more than gRPC's own limit of 4 MiB is taken", async () => {
  await firstSync();
  const paths = Array.from({ length: 1000 }, (_, at) => [`/${"x".repeat(5000)}/${at}`, "a"]);
  const table = routes("r", Object.fromEntries(paths) as Record<string, string>);
  expect(toBinary(resourceType("RDS").schema, table).length).toBeGreaterThan(4 * 1024 * 1024);
  expect(await exchange("RDS", [{ name: "r", version: "2", body: table }])).toBe("");
  expect(configuration.active(resourceType("RDS")).get("r")?.version).toBe("2");
});

test("D3 what is told again unchanged is accepted and not applied", async () => {
  await firstSync();
  applied.length = 0;
  expect(await exchange("CDS", [{ name: "a", body: cluster("a") }])).toBe("");
  expect(applied).toEqual([]);
});

test("a resource that nobody asked for is acknowledged and dropped", async () => {
  await firstSync();
  expect(await exchange("EDS", [{ name: "stranger", body: assignment("stranger", 1) }])).toBe("");
  expect(configuration.active(resourceType("EDS")).has("stranger")).toBe(false);
});

test("a port that another process has is refused by name", async () => {
  await server.request(of("LDS"));
  const other: Server = createServer().listen({ port: 0, host: "127.0.0.1", reusePort: true });
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  expect(await exchange("LDS", [{ name: "l", body: listener("l", port, "r") }])).toBe(
    `LDS: 1 resource refused: l: address: cannot bind '127.0.0.1:${port}': Address already in use (EADDRINUSE)`,
  );
  other.close();
});

test("two listeners of one address are refused, unless the one gives way to the other", async () => {
  const port = await firstSync();
  expect(await exchange("LDS", [{ name: "m", body: listener("m", port, "r") }])).toBe(
    `LDS: 1 resource refused: m: address: cannot bind '127.0.0.1:${port}': the listener "l" has this address`,
  );
  expect(await exchange("LDS", [{ name: "m", body: listener("m", port, "r") }], ["l"])).toBe("");
});

test("what is in use can be stored, and restored without a control plane; the first request then names its versions", async () => {
  await firstSync();
  const stored = [...configuration.stored()];
  await end();
  start();
  stop.abort();
  await running;
  await configuration.restore(stored);
  expect(applied).toEqual(["+CDS a", "+EDS a", "+RDS r", "+LDS l"]);
  expect(configuration.live).toBe(true);

  const before = server.requests.length;
  stop = new AbortController();
  running = runAdsClient({ server: server.address, node, signal: stop.signal }, configuration);
  expect((await server.request(of("LDS"), before)).initialResourceVersions).toEqual({ l: "1" });
  expect((await server.subscriptionTo("RDS", "r", before)).initialResourceVersions).toEqual({ r: "1" });
});

test("T5 the back-off is fully jittered, doubles, and has an upper bound", () => {
  expect([0, 1, 2].map((failures) => backOffMs(failures, 1))).toEqual([250, 500, 1000]);
  expect(backOffMs(1000, 1)).toBe(10_000);
  expect(backOffMs(1000, 0)).toBe(0);
});
