/** The Consul source against real agents, with the streaming backend and without. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { EndpointHealth, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { canonical } from "../../discovery/canonical.ts";
import type { ConsulSettings } from "../../discovery/consul/settings.ts";
import { ConsulSource } from "../../discovery/consul/source.ts";
import type { DiscoveryError } from "../../discovery/source.ts";
import { serviceKey } from "../../discovery/testing/scripted-source.ts";
import { Consul } from "../support/consul.ts";
import { waitFor } from "../support/wait.ts";

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** Watches a service; `last` is the newest snapshot, `error` what ended the watch. */
function watch(consul: Consul, service: string, settings: Partial<ConsulSettings> = {}) {
  const source = new ConsulSource({ addresses: [consul.url], ...settings });
  const end = new AbortController();
  const seen: { last?: ServiceSnapshot; error?: DiscoveryError } = {};
  const done = (async () => {
    try {
      for await (const snapshot of source.watch(serviceKey(service), end.signal)) seen.last = snapshot;
    } catch (error) {
      if (!end.signal.aborted) seen.error = error as DiscoveryError;
    }
  })();
  cleanups.push(async () => {
    end.abort();
    await done;
    await source.close();
  });
  return { seen, source };
}

const addresses = ({ last }: { last?: ServiceSnapshot }) => last?.endpoints.map(({ address }) => address).sort();

/** The names of all services. Consul is given some seconds for an answer, as for a sign of life: where it takes longer it is asked again. */
const listed = (source: ConsulSource): Promise<string[]> =>
  waitFor("a list", async () => (await source.list(AbortSignal.timeout(60_000))).map(({ key }) => key.service));

/** The mark of a cluster, by a new watch: instances wait for it no longer than two seconds. */
const markOf = (consul: Consul): Promise<string> =>
  waitFor("the mark", async () => {
    const { seen } = watch(consul, "orders");
    await waitFor("an answer", () => seen.last ?? seen.error);
    return seen.last?.clusterIdentity || undefined;
  });

describe.each([{ streaming: true }, { streaming: false }])("plain, streaming $streaming", ({ streaming }) => {
  let consul: Consul;
  beforeAll(async () => {
    consul = await Consul.start({ streaming });
  });
  afterAll(async () => {
    await consul.stop();
  });

  test("instances come, change and go as they are registered", async () => {
    const { seen } = watch(consul, "orders");
    await waitFor("an answer", () => seen.last);
    expect(seen.last).toMatchObject({ endpoints: [], unknownService: true });

    const more = { tags: ["v2", "blue"], meta: { team: "shop" }, weights: { Passing: 7, Warning: 2 } };
    await consul.register({ id: "o1", name: "orders", address: "10.0.0.1", port: 80, check: "passing", ...more });
    await waitFor("o1", () => addresses(seen)?.includes("10.0.0.1"));
    expect(seen.last?.endpoints).toMatchObject([
      { port: 80, hostname: "o1", weight: 7, health: EndpointHealth.HEALTHY, metadata: { team: "shop" } },
    ]);
    expect(seen.last?.endpoints[0]?.tags.toSorted()).toEqual(["blue", "v2"]);

    await consul.setCheck("o1", "warning");
    await waitFor("the weight of a warning", () => seen.last?.endpoints[0]?.weight === 2);
    await consul.setCheck("o1", "critical");
    await waitFor("o1 to be unhealthy", () => seen.last?.endpoints[0]?.health === EndpointHealth.UNHEALTHY);
    await consul.register({ id: "o2", name: "orders", port: 81 });
    await waitFor("o2 on its node's address", () => addresses(seen)?.includes("127.0.0.1"));

    await consul.deregister("o1");
    await consul.deregister("o2");
    await waitFor("none", () => seen.last?.endpoints.length === 0);
    expect(seen.error).toBeUndefined();
  });

  test("an instance that came back under another id counts by the better of both", async () => {
    const { seen } = watch(consul, "reborn");
    const at = { name: "reborn", address: "10.0.0.7", port: 80 };
    await consul.register({ id: "r1", ...at, check: "critical" });
    await consul.register({ id: "r2", ...at, check: "passing" });
    await waitFor("both", () => seen.last?.endpoints.length === 2, 60_000);
    await waitFor(
      "one of them to be healthy",
      () => seen.last?.endpoints.some(({ health }) => health === EndpointHealth.HEALTHY),
      60_000,
    );
    const served = seen.last && canonical(seen.last).decode().endpoints;
    expect(served).toMatchObject([{ hostname: "r2", health: EndpointHealth.HEALTHY }]);
  });

  test("instances that flap end as they are", async () => {
    const { seen } = watch(consul, "flappy");
    for (let at = 0; at < 20; at++) {
      await consul.register({ id: "f1", name: "flappy", address: `10.0.1.${at}`, port: 80 });
      if (at % 3 === 0) await consul.deregister("f1");
    }
    await waitFor("the last address", () => addresses(seen)?.[0] === "10.0.1.19");
    await consul.deregister("f1");
  });

  test("a filter expression, stale and cached reads are honoured", async () => {
    await consul.register({ id: "a", name: "filtered", address: "10.0.2.1", port: 80, tags: ["a"] });
    await consul.register({ id: "b", name: "filtered", address: "10.0.2.2", port: 80, tags: ["b"] });
    const filtered = watch(consul, "filtered", { filter: '"b" in Service.Tags' });
    const stale = watch(consul, "filtered", { consistency: "stale" });
    const cached = watch(consul, "filtered", { cached: true });
    await waitFor("the filtered one", () => addresses(filtered.seen)?.join() === "10.0.2.2");
    await waitFor("all, stale", () => addresses(stale.seen)?.length === 2);
    await waitFor("all, cached", () => addresses(cached.seen)?.length === 2);
    expect(await listed(filtered.source)).toContain("filtered");
    await waitFor("the version", async () => {
      const { version } = await filtered.source.probe(AbortSignal.timeout(60_000));
      expect(version).toMatch(/^Consul 1\.22\./);
      return true;
    });
  });

  test("a name that no agent would take is the operator's mistake, an agent that isn't there is unreachable", async () => {
    const wrong = watch(consul, "orders", { filter: "nonsense ===" });
    await waitFor("the refusal", () => wrong.seen.error);
    expect(wrong.seen.error?.kind).toBe("bad_settings");
    const gone = watch(consul, "orders", { addresses: ["http://127.0.0.1:1"] });
    await waitFor("the failure", () => gone.seen.error);
    expect(gone.seen.error).toMatchObject({
      kind: "unreachable",
      message: expect.stringContaining("ECONNREFUSED") as string,
    });
  });
});

test("a cluster is known by its mark, which another one doesn't have; what only Consul Enterprise has is refused in its words", async () => {
  const consul = await Consul.start();
  cleanups.push(() => consul.stop());
  await consul.register({ id: "o1", name: "orders", address: "10.0.0.1", port: 80 });
  const first = watch(consul, "orders");
  await waitFor("an answer", () => addresses(first.seen)?.length === 1);
  const before = await markOf(consul);
  expect(before).toMatch(/^[-0-9a-f]{36}\.consul$/);
  await waitFor("the same mark", async () => {
    expect((await first.source.probe(AbortSignal.timeout(60_000))).clusterIdentity).toBe(before);
    return true;
  });

  const namespace = watch(consul, "orders", { namespace: "shop" });
  const partition = watch(consul, "orders", { partition: "eu" });
  const datacenter = watch(consul, "orders", { datacenter: "elsewhere" });
  for (const { seen } of [namespace, partition, datacenter]) await waitFor("the refusal", () => seen.error);
  expect(namespace.seen.error).toMatchObject({
    kind: "bad_settings",
    message: expect.stringContaining("Enterprise") as string,
  });
  expect(partition.seen.error).toMatchObject({
    kind: "bad_settings",
    message: expect.stringContaining("Enterprise") as string,
  });
  expect(datacenter.seen.error?.message).toContain("No path to datacenter");

  await consul.kill();
  await waitFor("the end of the watch", () => first.seen.error);
  await consul.restart();
  expect(await markOf(consul)).not.toBe(before);
});

describe("ACLs, default deny", () => {
  let consul: Consul;
  beforeAll(async () => {
    consul = await Consul.start({ acl: true });
    await consul.register({ id: "s1", name: "secret", address: "10.0.3.1", port: 80 });
    await consul.register({ id: "p1", name: "public", address: "10.0.3.2", port: 80 });
  });
  afterAll(async () => {
    await consul.stop();
  });

  test("a token that may read sees instances; one that may not, none at all and a wrong one are told as what they are", async () => {
    const token = await consul.token('service "public" { policy = "read" } node_prefix "" { policy = "read" }');
    const may = watch(consul, "public", { token });
    const mayNot = watch(consul, "secret", { token });
    const anonymous = watch(consul, "secret");
    const unknown = watch(consul, "secret", { token: "99999999-2222-3333-4444-555555555555" });
    await waitFor("instances", () => addresses(may.seen)?.join() === "10.0.3.2");
    await waitFor("the denial", () => mayNot.seen.error);
    await waitFor("the denial without a token", () => anonymous.seen.error);
    await waitFor("the refusal of a wrong token", () => unknown.seen.error);
    expect(mayNot.seen).toMatchObject({ error: { kind: "permission_denied" } });
    expect(anonymous.seen).toMatchObject({ error: { kind: "permission_denied" } });
    expect([mayNot.seen.last, anonymous.seen.last]).toEqual([undefined, undefined]);
    expect(unknown.seen.error?.kind).toBe("unauthenticated");
    expect(await listed(may.source)).toEqual(["public"]);
    await waitFor("the denial of a list", async () => {
      await expect(anonymous.source.list(AbortSignal.timeout(60_000))).rejects.toMatchObject({
        kind: "permission_denied",
      });
      return true;
    });
  });

  test("a token that may see some of the nodes gives what it sees, and says that there is more", async () => {
    await consul.register({ id: "b1", name: "both", address: "10.0.3.3", port: 80 });
    await consul.registerInCatalog("both", "10.0.3.4", 80);
    const token = await consul.token('service_prefix "" { policy = "read" } node "peer" { policy = "read" }');
    const some = watch(consul, "both", { token });
    await waitFor("what it sees", () => addresses(some.seen)?.join() === "10.0.3.3", 60_000);
    expect(some.seen.last?.hidden).toMatch(/lacks node:read on some nodes of "both"/);
    const all = watch(consul, "both", {
      token: await consul.token('service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'),
    });
    await waitFor("all of it", () => addresses(all.seen)?.join() === "10.0.3.3,10.0.3.4", 60_000);
    expect(all.seen.last?.hidden).toBe("");
  });
});
