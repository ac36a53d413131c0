/** What a real Consul answered (testdata), read by the conversion, and told again by a server to the source. */
import { readFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";

import { EndpointHealth, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { waitFor } from "../../test/support/wait.ts";
import type { DiscoveryError } from "../source.ts";
import { serviceKey } from "../testing/scripted-source.ts";
import { entriesOf, hostNamesOf, toSnapshot } from "./convert.ts";
import type { ConsulSettings } from "./settings.ts";
import { ConsulSource } from "./source.ts";
import { nextIndex } from "./watch.ts";

interface Recorded {
  readonly path: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

const recorded = (name: string): Recorded =>
  JSON.parse(readFileSync(join(import.meta.dirname, "testdata", `${name}.json`), "utf8")) as Recorded;

const { HEALTHY, UNHEALTHY } = EndpointHealth;
const key = serviceKey("orders");
const lookup = new Map([["orders.example.com", ["10.1.0.5", "10.1.0.6"]]]);

test("instances become endpoints: weights and health by their checks, names by their addresses, the node's where there is none", () => {
  const entries = entriesOf(recorded("orders").body);
  expect(hostNamesOf(entries)).toEqual(["orders.example.com"]);
  const rows = (passingOnly: boolean) =>
    toSnapshot(key, entries, lookup, { passingOnly }).endpoints.map(
      ({ hostname, address, port, weight, health, zone, region }) =>
        [hostname, address, port, weight, health, region, zone] as const,
    );
  const others = [
    ["o3", "10.0.0.3", 8082, 1, UNHEALTHY, "", ""],
    ["o4", "127.0.0.1", 8083, 1, UNHEALTHY, "", ""],
    ["o5", "10.1.0.5", 8084, 1, HEALTHY, "", ""],
    ["o5", "10.1.0.6", 8084, 1, HEALTHY, "", ""],
    ["o6", "fd00::6", 8085, 1, HEALTHY, "eu", "eu-a"],
  ];
  const first = ["o1", "10.0.0.1", 8080, 7, HEALTHY, "", ""];
  expect(rows(false)).toEqual([first, ["o2", "10.0.0.2", 8081, 2, HEALTHY, "", ""], ...others]);
  expect(rows(true)).toEqual([first, ["o2", "10.0.0.2", 8081, 2, UNHEALTHY, "", ""], ...others]);
  const [o1] = toSnapshot(key, entries, lookup, { passingOnly: false }).endpoints;
  expect(o1).toMatchObject({ metadata: { team: "shop" }, tags: ["v2", "live"] });
});

test("where an instance is comes from its locality, its node's, or the metadata of either", () => {
  const meta = { region: "meta", zone: "meta-a" };
  const place = (Service: object, Node: object) => {
    const entry = { Node: { Address: "10.0.0.1", ...Node }, Service: { Port: 80, ...Service }, Checks: [] };
    const [endpoint] = toSnapshot(key, entriesOf([entry]), new Map(), { passingOnly: false }).endpoints;
    return [endpoint?.region, endpoint?.zone];
  };
  expect(place({ Locality: { Region: "eu", Zone: "eu-a" }, Meta: meta }, { Meta: meta })).toEqual(["eu", "eu-a"]);
  expect(place({ Meta: meta }, { Locality: { Region: "eu" } })).toEqual(["eu", ""]);
  expect(place({ Meta: meta }, { Meta: { zone: "node-a" } })).toEqual(["meta", "meta-a"]);
  expect(place({ Meta: { team: "shop" } }, { Meta: { zone: "node-a" } })).toEqual(["", "node-a"]);
  expect(place({ Meta: null }, { Locality: null })).toEqual(["", ""]);
});

test("an answer that is no list of instances is refused, whatever it is", () => {
  for (const body of [null, {}, "No cluster leader", [1], [{ Node: {} }]]) {
    expect(() => entriesOf(body)).toThrow("not a list of service instances");
  }
});

test("the index of a restarted Consul is lower than what is waited for, and begins anew", () => {
  const before = Number(recorded("index-from-before-a-restart").headers["x-consul-index"]);
  expect(nextIndex(999_999, before)).toBe(0);
  expect(nextIndex(0, before)).toBe(before);
});

test("an index to wait for never goes back, and never makes a busy loop", () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(), (waited, answered) => {
      const next = nextIndex(waited, answered);
      expect(next).toBe(answered < waited ? 0 : Math.max(1, answered));
    }),
  );
});

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server of this kind, by its URL. */
async function open(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A Consul that gives these answers, one after the other, to questions for instances, and keeps the next one waiting. */
async function replay(
  names: readonly (string | Recorded)[],
  settings: Partial<ConsulSettings> = {},
  trustDomain: (answers: number) => string | undefined = () => "11111111-2222.consul",
) {
  const answers = names.map((name) => (typeof name === "string" ? recorded(name) : name));
  const asked: URL[] = [];
  const address = await open((request, response) => {
    const url = new URL(request.url ?? "", "http://consul");
    if (request.method === "POST") {
      // What Consul's own UI asks: whether the caller may see the service.
      response.end(JSON.stringify([{ Resource: "service", Access: "read", Segment: "orders", Allow: false }]));
      return;
    }
    if (url.pathname === "/v1/connect/ca/roots") {
      const TrustDomain = trustDomain(asked.length);
      if (TrustDomain === undefined) response.destroy();
      else response.end(JSON.stringify({ TrustDomain }));
      return;
    }
    asked.push(url);
    // What was learnt of the cluster a while ago is asked anew.
    if (vi.isFakeTimers()) vi.advanceTimersByTime(10_000);
    const answer = answers.shift();
    if (answer === undefined) return;
    response.writeHead(answer.status, answer.headers);
    response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
  });
  const source = new ConsulSource({ addresses: [address], ...settings });
  cleanups.push(() => source.close());
  const end = new AbortController();
  const seen: ServiceSnapshot[] = [];
  try {
    for await (const snapshot of source.watch(key, end.signal)) {
      seen.push(snapshot);
      if (seen.length === names.length) end.abort();
    }
    return { seen, asked, error: undefined };
  } catch (error) {
    return { seen, asked, error };
  }
}

test("answers follow each other by their indexes; one that goes back is doubted, and asked for from the start", async () => {
  const restarted = { ...recorded("unknown-service") };
  expect(Number(restarted.headers["x-consul-index"])).toBeLessThan(
    Number(recorded("orders").headers["x-consul-index"]),
  );
  const { seen, asked } = await replay(["orders", "all-gone", "unknown-service", "unknown-service"], { token: "t" });
  const index = (name: string) => recorded(name).headers["x-consul-index"];
  expect(asked.map((url) => url.searchParams.get("index"))).toEqual([null, index("orders"), index("all-gone"), null]);
  expect(seen.map(({ discontinuous }) => discontinuous)).toEqual([false, false, true, true]);
  expect(seen.map(({ unknownService }) => unknownService)).toEqual([false, true, true, true]);
  expect(new Set(seen.map(({ clusterIdentity }) => clusterIdentity))).toEqual(new Set(["11111111-2222.consul"]));
  expect(seen.map(({ revision }) => revision)).toEqual([
    index("orders"),
    index("all-gone"),
    index("unknown-service"),
    index("unknown-service"),
  ]);
});

test("what is asked for arrives as it was written, and instances at a host name are at its addresses", async () => {
  const body = [{ Node: { Address: "localhost" }, Service: { ID: "a", Port: 80 }, Checks: [] }];
  const answer = { path: "", status: 200, headers: { "x-consul-index": "7" }, body };
  const filter = 'Service.Meta.env == "a&b=c+d ü"';
  const { seen, asked } = await replay([answer], { token: "t", filter });
  expect(asked[0]?.searchParams.get("filter")).toBe(filter);
  expect(seen[0]?.endpoints.map(({ address }) => address)).toContain("127.0.0.1");
});

test("where the index goes back it may be another cluster, and is asked", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  cleanups.push(async () => void vi.useRealTimers());
  const cluster = (answers: number) => (answers < 3 ? "old.consul" : "new.consul");
  const { seen } = await replay(["orders", "all-gone", "unknown-service"], { token: "t" }, cluster);
  expect(seen.map(({ clusterIdentity }) => clusterIdentity)).toEqual(["old.consul", "old.consul", "new.consul"]);
});

test("a cluster's mark that could not be had is asked for again", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  cleanups.push(async () => void vi.useRealTimers());
  const cluster = (answers: number) => (answers < 2 ? undefined : "some.consul");
  const { seen } = await replay(["orders", "all-gone"], { token: "t" }, cluster);
  expect(seen.map(({ clusterIdentity }) => clusterIdentity)).toEqual(["", "some.consul"]);
});

test.each([
  ["filtered-by-acls", "t", "permission_denied", /service:read on "orders"/],
  ["anonymous", undefined, "permission_denied", /service:read on "orders"/],
  ["unknown-token", "t", "unauthenticated", /ACL not found/],
  ["bad-filter", "t", "bad_settings", /boolean expression/],
] as const)("%s is no empty service", async (name, token, kind, words) => {
  const { seen, error } = await replay([name], { token });
  expect(seen).toEqual([]);
  expect(error).toMatchObject({ kind, message: expect.stringMatching(words) as string });
});

test("instances that ACLs leave are served, and it is said that others are hidden", async () => {
  const some = recorded("orders");
  const headers = { ...some.headers, "x-consul-results-filtered-by-acls": "true" };
  const later = { ...some, headers: { ...some.headers, "x-consul-index": "1000000" } };
  const { seen } = await replay([{ ...some, headers }, later], { token: "t" });
  expect(seen.map(({ endpoints }) => endpoints.length > 0)).toEqual([true, true]);
  expect(seen.map(({ hidden }) => hidden)).toEqual([expect.stringMatching(/lacks node:read.*"orders"/), ""]);
});

test("an address that takes questions and never answers is given up for the next one by a probe", async () => {
  const hangs = await open(() => {});
  const answers = await open((_, response) => response.end('"127.0.0.1:8300"'));
  const source = new ConsulSource({ addresses: [hangs, answers] });
  cleanups.push(() => source.close());
  const { signal } = new AbortController();
  await expect(source.probe(signal)).rejects.toMatchObject({
    kind: "unreachable",
    message: `${hangs}: no answer within 2.5 s`,
  });
  // As the supervisor asks: again and again, and not for long.
  const next = () =>
    source.probe(AbortSignal.timeout(3_000)).then(
      ({ version }) => version,
      () => undefined,
    );
  expect(await waitFor("the next address", next, 60_000)).toBe("Consul");
});

test("a token that Consul doesn't know shows with the registry, before any service is watched", async () => {
  const unknown = recorded("unknown-token");
  const url = await open((request, response) => {
    if (request.url === "/v1/status/leader") return response.end('"127.0.0.1:8300"');
    response.writeHead(unknown.status, unknown.headers);
    return response.end(typeof unknown.body === "string" ? unknown.body : JSON.stringify(unknown.body));
  });
  const source = new ConsulSource({ addresses: [url], token: "t" });
  cleanups.push(() => source.close());
  const failure = () =>
    source.probe(new AbortController().signal).then(
      () => undefined,
      ({ kind }: DiscoveryError) => kind === "unauthenticated",
    );
  await waitFor("the refusal", failure, 60_000);
});
