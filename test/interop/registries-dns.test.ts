/** The DNS source against a real DNS server. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { DnsSource } from "../../discovery/dns/source.ts";
import { RegistrySupervisor } from "../../discovery/supervise.ts";
import { serviceKey } from "../../discovery/testing/scripted-source.ts";
import { freePort } from "../support/ports.ts";
import { Program } from "../support/processes.ts";
import { dnsmasq } from "../support/tools.ts";
import { waitFor } from "../support/wait.ts";

/** More addresses than fit into one UDP answer. */
const MANY = 200;

let dir: string;
let port: number;
let server: Program;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-dns-"));
  port = await freePort();
  await writeFile(join(dir, "hosts"), "10.0.0.1 one.test\n");
  const { path, env } = await dnsmasq();
  const many = Array.from({ length: MANY }, (_, at) => `--host-record=many.test,10.1.0.${at}`);
  server = new Program(
    path,
    [
      ...["--keep-in-foreground", "--no-resolv", "--no-hosts", `--port=${port}`, "--listen-address=127.0.0.1"],
      ...["--bind-interfaces", "--user=root", "--conf-file=/dev/null", `--hostsdir=${dir}`, "--local-ttl=1"],
      ...["--local=/test/", "--pid-file=", "--host-record=two.test,10.0.0.2,2001:db8::2"],
      ...["--srv-host=_http._tcp.orders.test,one.test,8080,1,5", "--srv-host=_http._tcp.orders.test,two.test,8081,9,5"],
      ...many,
    ],
    { env },
  );
});

afterAll(async () => {
  await server?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** What a name has: the first snapshot of a watch, which a server that is slow makes begin anew. */
const first = (name: string): Promise<ServiceSnapshot> =>
  waitFor(name, async () => {
    const source = new DnsSource([`127.0.0.1:${port}`]);
    for await (const snapshot of source.watch(serviceKey(name), AbortSignal.timeout(60_000))) return snapshot;
    throw new Error("no snapshot");
  });

const addresses = ({ endpoints }: ServiceSnapshot) => endpoints.map(({ address }) => address).sort();

test("addresses of both kinds, services, and names that there aren't", async () => {
  await first("one.test");
  // Addresses of the one kind are served without those of the other where the server doesn't tell of them in time.
  await waitFor("addresses of both kinds", async () => {
    expect(addresses(await first("two.test"))).toEqual(["10.0.0.2", "2001:db8::2"]);
    return true;
  });
  expect(await first("nowhere.test")).toMatchObject({ endpoints: [], unknownService: true });
  const orders = await first("_http._tcp.orders.test");
  expect(orders.endpoints).toMatchObject([{ address: "10.0.0.1", port: 8080 }]);
  const source = new DnsSource([`127.0.0.1:${port}`]);
  const version = async () => (await source.probe(AbortSignal.timeout(60_000))).version;
  expect(await waitFor("a sign of life", version)).toBe("DNS");
});

test("an answer that doesn't fit is asked for over TCP", async () => {
  expect((await first("many.test")).endpoints).toHaveLength(MANY);
});

test("a name whose addresses change is asked again when they expire", async () => {
  const source = new DnsSource([`127.0.0.1:${port}`]);
  let last: ServiceSnapshot | undefined;
  const supervisor = new RegistrySupervisor({
    ...{ source, holdEmptyMs: 60_000 },
    events: { changed: (_, served) => (last = served.decode()) },
  });
  try {
    void supervisor.add(serviceKey("one.test"));
    await waitFor("the first address", () => last && addresses(last).join() === "10.0.0.1");
    await writeFile(join(dir, "hosts"), "10.0.0.7 one.test\n");
    server.child.kill("SIGHUP");
    await waitFor("the other address", () => last && addresses(last).includes("10.0.0.7"));
  } finally {
    await supervisor.close();
  }
});
