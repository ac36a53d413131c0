/** DNS as a registry, against name servers that behave as a test tells them to. */
import { afterEach, expect, test, vi } from "vitest";

import type { ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { ScriptedDns } from "../../test/support/scripted-dns.ts";
import { waitFor } from "../../test/support/wait.ts";
import { startWatching } from "../../test/support/watching.ts";
import { RegistrySupervisor } from "../supervise.ts";
import { serviceKey } from "../testing/scripted-source.ts";
import { ServerOrder } from "./server-order.ts";
import { DnsSource } from "./source.ts";

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function server(host?: string): Promise<ScriptedDns> {
  const made = await ScriptedDns.start(host);
  cleanups.push(() => made[Symbol.asyncDispose]());
  return made;
}

async function first(servers: readonly (ScriptedDns | string)[], name: string): Promise<ServiceSnapshot> {
  const source = new DnsSource(servers.map((each) => (typeof each === "string" ? each : each.address)));
  for await (const snapshot of source.watch(serviceKey(name), AbortSignal.timeout(60_000))) return snapshot;
  throw new Error("no snapshot");
}

const addresses = ({ endpoints }: ServiceSnapshot) => endpoints.map(({ address }) => address);

test("addresses of both kinds are found, from a server at an IPv6 address too, and names go as they are written", async () => {
  const dns = await server("::1");
  dns.records.set("a.test", [{ a: "10.0.0.1" }, { aaaa: "2001:db8::1" }]);
  expect(addresses(await first([dns], "A.test."))).toEqual(["10.0.0.1", "2001:db8::1"]);
  await first([dns], "short");
  expect(new Set(dns.asked)).toEqual(new Set(["a.test 1", "a.test 28", "short 1", "short 28"]));
});

test("an alias is followed, also where the server doesn't say what it stands for; a circle of them is a bad answer", async () => {
  const dns = await server();
  dns.records.set("a.test", [{ cname: "b.test" }]);
  dns.records.set("b.test", [{ cname: "c.test" }]);
  dns.records.set("c.test", [{ a: "10.0.0.1" }]);
  expect(addresses(await first([dns], "a.test"))).toEqual(["10.0.0.1"]);
  dns.records.set("c.test", [{ cname: "a.test" }]);
  await expect(first([dns], "a.test")).rejects.toMatchObject({ kind: "bad_answer", message: /alias/ });
  dns.records.set("c.test", []);
  expect(await first([dns], "a.test")).toMatchObject({ endpoints: [], unknownService: false });
  expect(await first([dns], "gone.test")).toMatchObject({ endpoints: [], unknownService: true });
});

test("a server that fails, refuses or is silent is left for the next; if all do, that is no answer", async () => {
  const [bad, good] = [await server(), await server()];
  good.records.set("a.test", [{ a: "10.0.0.1" }]);
  for (const refusal of ["servfail", "refused", "silence"] as const) {
    for (const type of [1, 28]) bad.refused.set(`a.test ${type}`, refusal);
    expect(addresses(await first([bad, good], "a.test"))).toEqual(["10.0.0.1"]);
  }
  expect(addresses(await first(["127.0.0.1:1", good], "a.test"))).toEqual(["10.0.0.1"]);
  for (const type of [1, 28]) bad.refused.set(`a.test ${type}`, "refused");
  await expect(first([bad], "a.test")).rejects.toMatchObject({ kind: "permission_denied", message: /REFUSED/ });
  // That there is no such name is an answer, which the next server is not asked to better.
  bad.refused.clear();
  expect(await first([bad, good], "a.test")).toMatchObject({ unknownService: true });
});

test("a server that refuses what it isn't there for lives", async () => {
  const dns = await server();
  dns.refused.set("localhost 1", "refused");
  const source = new DnsSource([dns.address]);
  const { signal } = new AbortController();
  await waitFor("the answer", () => source.probe(signal).then(({ version }) => version));
  dns.refused.set("localhost 1", "servfail");
  await expect(source.probe(signal)).rejects.toMatchObject({ kind: "unreachable" });
});

test("a server that gave no answer is asked last, for a while or until it gives one", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  cleanups.push(async () => void vi.useRealTimers());
  const [a, b, c] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map((host) => ({ host, port: 53 }));
  if (a === undefined || b === undefined || c === undefined) throw new Error("three servers");
  const order = new ServerOrder();
  const hosts = () =>
    order
      .of([a, b, c])
      .map(({ host }) => host.slice(-1))
      .join("");
  expect(hosts()).toBe("123");
  order.note(a, false);
  expect(hosts()).toBe("231");
  order.note(b, false);
  expect(hosts()).toBe("312");
  order.note(a, true);
  expect(hosts()).toBe("132");
  vi.advanceTimersByTime(30_000);
  expect(hosts()).toBe("123");
});

test("a server that doesn't know EDNS is asked without, and over TCP for what doesn't fit then", async () => {
  const dns = await server();
  dns.refused.set("edns", "formerr");
  dns.records.set(
    "a.test",
    Array.from({ length: 100 }, (_, at) => ({ a: `10.0.0.${at}` })),
  );
  // TCP is asked with EDNS no more either.
  expect((await first([dns], "a.test")).endpoints).toHaveLength(100);
  expect(dns.asked).toContain("a.test 1 tcp");
});

test("a server that is no good for IPv6 does for IPv4, as long as there never was an IPv6 address", async () => {
  const dns = await server();
  dns.records.set("a.test", [{ a: "10.0.0.1", ttl: 0 }]);
  dns.refused.set("a.test 28", "servfail");
  const watching = startWatching(new DnsSource([dns.address]), { service: "a.test" });
  cleanups.push(() => watching.stop());
  await waitFor("the address", () => watching.addresses?.join() === "10.0.0.1");
  dns.refused.clear();
  dns.records.set("a.test", [
    { a: "10.0.0.1", ttl: 0 },
    { aaaa: "2001:db8::1", ttl: 0 },
  ]);
  await waitFor("both", () => watching.addresses?.join() === "10.0.0.1,2001:db8::1");
  dns.refused.set("a.test 28", "servfail");
  await waitFor("the failure", () => watching.error !== undefined);
  expect(watching.error).toMatchObject({ kind: "unreachable", message: /SERVFAIL/ });
  expect(watching.addresses).toHaveLength(2);
});

test("of services the lowest priority that has addresses counts, each server with its port and weight", async () => {
  const dns = await server();
  const name = "_http._tcp.orders.test";
  dns.records.set("one.test", [{ a: "10.0.0.1" }]);
  dns.records.set("two.test", [{ a: "10.0.0.2" }]);
  dns.records.set(name, [
    { srv: [1, 0, 8080, "one.test"] },
    { srv: [1, 40, 8081, "two.test"] },
    { srv: [9, 1, 8082, "three.test"] },
  ]);
  expect((await first([dns], name)).endpoints).toMatchObject([
    { address: "10.0.0.1", port: 8080, weight: 1, hostname: "one.test" },
    { address: "10.0.0.2", port: 8081, weight: 40 },
  ]);
  dns.records.delete("one.test");
  dns.records.delete("two.test");
  dns.records.set("three.test", [{ a: "10.0.0.3" }]);
  expect((await first([dns], name)).endpoints).toMatchObject([{ address: "10.0.0.3", port: 8082 }]);
  // Decidedly none (RFC 2782, "target").
  dns.records.set(name, [{ srv: [0, 0, 0, ""] }]);
  expect(await first([dns], name)).toMatchObject({ endpoints: [], unknownService: false });
});

test("services that don't fit a datagram are asked for over TCP", async () => {
  const dns = await server();
  const name = "_http._tcp.orders.test";
  dns.refused.set("edns", "formerr");
  dns.records.set("one.test", [{ a: "10.0.0.1" }]);
  dns.records.set(
    name,
    Array.from({ length: 100 }, (_, at) => ({ srv: [1, 1, 8_000 + at, "one.test"] as const })),
  );
  expect((await first([dns], name)).endpoints).toHaveLength(100);
  expect(dns.asked).toContain(`${name} 33 tcp`);
});

test("what isn't there is asked for again when its time is over, by the zone's word or after a while", async () => {
  const dns = await server();
  dns.negativeTtl = 0;
  const watching = startWatching(new DnsSource([dns.address]), { service: "late.test" });
  cleanups.push(() => watching.stop());
  await waitFor("nothing", () => watching.snapshots.at(-1)?.unknownService);
  dns.records.set("late.test", [{ a: "10.0.0.1" }]);
  await waitFor("something", () => watching.addresses?.join() === "10.0.0.1");
  expect(watching.snapshots.at(-1)?.discontinuous).toBe(false);
});

test("a name that is gone is doubted: its zone may have been loaded in part", async () => {
  const dns = await server();
  dns.negativeTtl = 0;
  dns.records.set("a.test", [{ a: "10.0.0.1", ttl: 1 }]);
  const source = new DnsSource([dns.address]);
  const supervisor = new RegistrySupervisor({ source, holdEmptyMs: 3_600_000, events: { changed: () => {} } });
  cleanups.push(() => supervisor.close());
  const key = serviceKey("a.test");
  const served = () =>
    supervisor
      .report(key)
      ?.served?.decode()
      .endpoints.map(({ address }) => address);
  void supervisor.add(key);
  await waitFor("the address", () => served()?.join() === "10.0.0.1");
  dns.records.delete("a.test");
  await waitFor("the doubt", () => supervisor.report(key)?.state === "held");
  expect(supervisor.report(key)?.held?.reason).toContain("the registry knows no such service");
  expect(served()).toEqual(["10.0.0.1"]);
  dns.records.set("a.test", [{ a: "10.0.0.2", ttl: 1 }]);
  await waitFor("the name", () => supervisor.report(key)?.state === "fresh");
  expect(served()).toEqual(["10.0.0.2"]);
});

test("a server that can't be reached at all is a failure like another, and the next one is asked", async () => {
  const dns = await server();
  dns.records.set("a.test", [{ a: "10.0.0.1" }]);
  // connect(2) refuses a broadcast address, as it does one that there is no route to (which, without any network, this is too).
  const [nowhere, signal] = ["255.255.255.255", AbortSignal.timeout(60_000)];
  await expect(new DnsSource([nowhere]).probe(signal)).rejects.toMatchObject({
    kind: "unreachable",
    message: expect.stringMatching(/EACCES|ENETUNREACH/),
  });
  expect(addresses(await first([nowhere, dns], "a.test"))).toEqual(["10.0.0.1"]);
});
