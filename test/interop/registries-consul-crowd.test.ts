/** More services than a real Consul, with its own limits, allows connections to one client. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { ConsulClient } from "../../discovery/consul/client.ts";
import { watchHints } from "../../discovery/consul/hints.ts";
import type { ConsulSettings } from "../../discovery/consul/settings.ts";
import { ConsulSource } from "../../discovery/consul/source.ts";
import type { Source } from "../../discovery/source.ts";
import { RegistrySupervisor } from "../../discovery/supervise.ts";
import { serviceKey } from "../../discovery/testing/scripted-source.ts";
import { TestAuthority } from "../support/certificates.ts";
import { Consul } from "../support/consul.ts";
import { waitFor } from "../support/wait.ts";

/** Consul's limits.http_max_conns_per_client is 200. */
const SERVICES = 500;
const PATIENCE_MS = 120_000;

const authority = new TestAuthority();
let consul: Consul;
const cleanups: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const certificate = authority.issue({ name: "consul", altNames: ["IP:127.0.0.1"] });
  consul = await Consul.start({ connectionLimit: true, certificate });
  for (let at = 0; at < SERVICES; at++) await consul.registerInCatalog(`s${at}`, `10.1.0.${at % 250}`, 80);
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

afterAll(async () => {
  await consul?.stop();
  authority[Symbol.dispose]();
});

/** Watches all services; `addresses` are those that one has now. */
function watchAll(settings: Partial<ConsulSettings>) {
  const consulSource = new ConsulSource({ addresses: [consul.url], ...settings });
  const failures: string[] = [];
  const source: Source = {
    async *watch(service, signal) {
      try {
        yield* consulSource.watch(service, signal);
      } catch (error) {
        // That an answer took too long is a busy machine's.
        if (!signal.aborted && !/ in time$| stopped$|take the connection/.test(String(error)))
          failures.push(String(error));
        throw error;
      }
    },
    list: (signal) => consulSource.list(signal),
    probe: (signal) => consulSource.probe(signal),
    close: () => consulSource.close(),
  };
  const changed: string[] = [];
  const supervisor = new RegistrySupervisor({
    ...{ source, holdEmptyMs: 60_000 },
    events: { changed: ({ service }) => changed.push(service) },
  });
  cleanups.push(() => supervisor.close());
  for (let at = 0; at < SERVICES; at++) void supervisor.add(serviceKey(`s${at}`));
  const reports = () => [...supervisor.reports()];
  return {
    changed,
    report: (service: string) => supervisor.report(serviceKey(service)),
    allFresh: () => waitFor("all to be fresh", () => reports().every(({ state }) => state === "fresh"), PATIENCE_MS),
    failures,
  };
}

test.each([
  ["http", {}],
  ["https", { secure: true }],
] as const)(
  "over %s, all are watched, and follow what is registered",
  async (_, { secure = false }: { secure?: boolean }) => {
    const all = watchAll(secure ? { addresses: [consul.secureUrl], tls: { ca: authority.cert } } : {});
    await all.allFresh();
    all.changed.length = 0;

    await consul.registerInCatalog("s7", "10.1.0.7", 80, "critical");
    await waitFor("the failing check", () => all.report("s7")?.served?.usableCount === 0, PATIENCE_MS);
    await consul.registerInCatalog("s7", "10.1.0.7", 80);
    await waitFor("its recovery", () => all.report("s7")?.served?.usableCount === 1, PATIENCE_MS);
    await consul.registerInCatalog("s8", "10.2.0.1", 80);
    await waitFor("another instance", () => all.report("s8")?.served?.endpointCount === 2, PATIENCE_MS);
    await consul.deregisterFromCatalog("s8", "10.2.0.1", 80);
    await waitFor("its end", () => all.report("s8")?.served?.endpointCount === 1, PATIENCE_MS);

    expect(new Set(all.changed)).toEqual(new Set(["s7", "s8"]));
    expect(all.failures).toEqual([]);
  },
);

test("each registration hints at its service, also without a check, and a removal does", async () => {
  const settings = { addresses: [consul.url] };
  const client = new ConsulClient(settings);
  const end = new AbortController();
  const hinted = new Set<string>();
  const watching = watchHints(client, settings, (service) => hinted.add(service), end.signal);
  cleanups.push(async () => {
    end.abort();
    await client.close();
    await watching;
  });
  const register = (service: string, id: string) =>
    consul.call("PUT", "/v1/catalog/register", {
      ...{ Node: "elsewhere", Address: "10.0.0.1", SkipNodeUpdate: true },
      Service: { ID: id, Service: service, Address: "10.3.0.1", Port: 80 },
    });
  // Until the lists are known there is nothing to compare with: until then each round is one of many.
  await waitFor(
    "the first hint",
    async () => {
      await register("s1", `first-${Math.random()}`);
      return hinted.has("s1");
    },
    PATIENCE_MS,
  );
  await register("s9", "another");
  await waitFor("a hint at the service of an instance without a check", () => hinted.has("s9"), PATIENCE_MS);
  await consul.registerInCatalog("s10", "10.4.0.1", 80);
  await waitFor("a hint at the service of an instance with a check", () => hinted.has("s10"), PATIENCE_MS);
  hinted.clear();
  await consul.call("PUT", "/v1/catalog/deregister", { Node: "elsewhere", ServiceID: "another" });
  await waitFor("a hint at its removal", () => hinted.has("s9"), PATIENCE_MS);
});
