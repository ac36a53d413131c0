/** From registries to requests, without a server of another's: changes, filters, weights, fallback, outages, restarts, mistakes. */
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { timestampMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";

import { type WatchedService, WatchState } from "#sluice/admin/v1/discovery_service_pb.ts";

import { SavedFile } from "../../control-plane/endpoints/saved.ts";
import { RegistrySupervisor } from "../../discovery/supervise.ts";
import { ReplaySource } from "../../discovery/testing/replay-source.ts";
import { serviceKey } from "../../discovery/testing/scripted-source.ts";
import { DiscoveryRig } from "../support/discovery-rig.ts";
import { ask } from "../support/http.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { waitFor } from "../support/wait.ts";

/** What a file says of one instance, by the name of its back end. */
type Instance = Readonly<Record<string, unknown>>;

let rig: DiscoveryRig;
let file: string;

/** Replaces the registry's file, as configuration management does. */
async function write(services: Readonly<Record<string, Readonly<Record<string, Instance>>>>): Promise<void> {
  const content: Record<string, Instance[]> = {};
  for (const [service, instances] of Object.entries(services)) {
    content[service] = [];
    for (const [name, instance] of Object.entries(instances)) {
      const { port } = await rig.upstream(name);
      content[service].push({ address: "127.0.0.1", port, ...instance });
    }
  }
  await writeFile(`${file}.new`, JSON.stringify({ services: content }));
  await rename(`${file}.new`, file);
}

/** One service with a route for each upstream: /NAME, and what is below, leads to the upstream of that name. */
/** When the registry last said something of the service. */
const eventMs = ({ lastEventTime }: WatchedService): number =>
  lastEventTime === undefined ? Number.NaN : timestampMs(lastEventTime);

const gateway = (upstreams: Readonly<Record<string, string>>, registries = "") => `
registries:
  - { name: file, file: { path: ${file} } }
${registries}
services:
  - name: orders
    hosts: [a.test]
    upstreams:
${Object.entries(upstreams)
  .map(([name, more]) => `      - { name: ${name}, ${more} }`)
  .join("\n")}
    routes:
${Object.keys(upstreams)
  .map((name) => `      - { name: ${name}, paths: ["/${name}", "/${name}/*"], upstream: ${name} }`)
  .join("\n")}
`;

beforeAll(async () => {
  rig = await DiscoveryRig.start();
  file = join(rig.dir, "services.json");
});

afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

test("instances that come, change and go are followed", async () => {
  await write({ orders: { one: {} } });
  await rig.apply(gateway({ all: "discovery: { registry: file, service: orders }" }));
  await rig.answers("one", "/all");
  await write({ orders: { one: {}, two: {} } });
  await rig.answers("one,two", "/all");
  await write({ orders: { one: { health: "unhealthy" }, two: {} } });
  await rig.answers("two", "/all");
  const seen = await rig.state("orders", WatchState.FRESH);
  expect(seen).toMatchObject({ endpointCount: 2, usableCount: 1, users: ["orders/all"] });
  const { stdout } = await rig.control.sluice("discovery", "endpoints", "orders");
  expect([stdout.match(/ healthy +1 /g)?.length, stdout.match(/ unhealthy +1 /g)?.length]).toEqual([1, 1]);
  await write({ orders: {} });
  await rig.answers("503", "/all");
  await write({ orders: { one: {} } });
  await rig.answers("one", "/all");
});

test("upstreams take their part: by tag, metadata and zone, with weights, and nodes behind them", async () => {
  const spare = await rig.upstream("spare");
  await write({
    orders: {
      one: { tags: ["live"], zone: "a", metadata: { team: "shop" }, weight: 3 },
      two: { tags: ["live", "v2"], zone: "b", metadata: { team: "shop" }, weight: 1 },
      three: { zone: "b", metadata: { team: "else" } },
      four: { tags: ["live"], zone: "a", weight: 0 },
    },
  });
  const of = (more: string) => `discovery: { registry: file, service: orders, ${more} }`;
  const nodes = `nodes: [{ host: 127.0.0.1, port: ${spare.port} }]`;
  await rig.apply(
    gateway({
      live: of("tags: [live]"),
      both: of("tags: [live, v2]"),
      team: of("metadata: { team: else }"),
      zone: of("zones: [b]"),
      spare: `${of("tags: [none]")}, ${nodes}`,
      behind: `${of("tags: [v2]")}, ${nodes}`,
    }),
  );
  await rig.answers("one,two", "/live");
  await rig.answers("two", "/both");
  await rig.answers("three", "/team");
  await rig.answers("three,two", "/zone");
  await rig.answers("spare", "/spare");
  await rig.answers("two", "/behind");
  const shares = await rig.shares("/live", 80);
  expect([shares.get("one"), shares.get("two")]).toEqual([60, 20]);
  await write({ orders: { one: { tags: ["live"] } } });
  await rig.answers("spare", "/behind");
});

test("an upstream that takes nothing of what is there is shown, with what it asks for in vain", async () => {
  await write({ orders: { one: { tags: ["v1"] }, two: { tags: ["v2"], health: "unhealthy" } } });
  const of = (more: string) => `discovery: { registry: file, service: orders${more} }`;
  await rig.apply(gateway({ all: of(""), typo: of(", tags: [v3]"), ill: of(", tags: [v2]") }));
  await rig.answers("one", "/all");
  await rig.answers("503", "/typo");
  const { choices } = await rig.state("orders", WatchState.FRESH);
  const typo = 'no instance (of 2) has the tag "v3"; there is "v1", "v2"';
  const ill = "none of the 1 (of 2) that match takes requests: unhealthy, or switched off (weight 0)";
  expect(choices).toMatchObject([
    { upstream: "orders/all", chosenCount: 1, problem: "" },
    { upstream: "orders/ill", chosenCount: 0, problem: ill },
    { upstream: "orders/typo", chosenCount: 0, problem: typo },
  ]);
  const shown = await rig.control.sluice("discovery", "problems");
  expect(shown).toMatchObject({
    code: 2,
    stdout: expect.stringContaining("orders/all, orders/ill (0), orders/typo (0)"),
  });
  expect(shown.stdout).toContain(`orders/typo takes none: ${typo}`);
  const { stdout } = await rig.control.sluice("discovery", "endpoints", "orders");
  expect(stdout).toContain(`orders/typo takes 0 of 2: ${typo}`);
  const noneChosen = async () => {
    const { body } = await ask(rig.control.adminPort, { path: "/metrics" });
    return /^sluice_discovery_upstreams_none_chosen\{gateway_group="default",registry="file"\} (\d+)$/m.exec(body)?.[1];
  };
  expect(await noneChosen()).toBe("2");

  await write({ orders: { one: { tags: ["v1", "v3"] }, two: { tags: ["v2"] } } });
  await rig.answers("one", "/typo");
  await rig.answers("two", "/ill");
  expect(await rig.control.sluice("discovery", "problems")).toMatchObject({ code: 0 });
  expect(await noneChosen()).toBe("0");
});

test("an outage of the registry is none of the services, whoever restarts meanwhile; emptiness after it is doubted, and shown", async () => {
  const startMs = Date.now();
  await write({ orders: { one: {}, two: {} } });
  // "echo" is where the load goes.
  const discovery = "discovery: { registry: file, service: orders }";
  await rig.apply(gateway({ all: discovery, echo: discovery }));
  await rig.answers("one,two", "/all");
  await rig.state("orders", WatchState.FRESH);
  const load = startSteadyLoad(rig.port, 2);

  await rm(file);
  const stale = await rig.state("orders", WatchState.STALE);
  expect(stale).toMatchObject({ endpointCount: 2, problem: { kind: "bad_settings" } });
  expect(stale.problem?.message).toContain("is not there");
  await rig.answers("one,two", "/all");

  // Only what is on the disk outlives a kill; it gets there within some seconds.
  const saved = new SavedFile(
    rig.control.data,
    () => [],
    () => {},
  );
  await waitFor("both on the disk", () =>
    saved.load().some(({ served }) => {
      const { endpoints, observeTime } = served.decode();
      return endpoints.length === 2 && observeTime !== undefined && timestampMs(observeTime) > startMs;
    }),
  );
  await rig.kill();
  await rig.restart();
  const restored = await rig.state("orders", WatchState.STALE);
  expect(restored).toMatchObject({ endpointCount: 2 });
  // How old the answer is, though it came to another process; one that said the same again need not be on the disk.
  expect(eventMs(restored)).toBeGreaterThan(startMs);
  expect(eventMs(restored)).toBeLessThanOrEqual(eventMs(stale));
  await rig.answers("one,two", "/all");

  await write({ orders: {} });
  const held = await rig.state("orders", WatchState.HELD);
  expect(held).toMatchObject({ endpointCount: 2, problem: { kind: "held" } });
  expect(held.heldUntilTime).toBeDefined();
  const { stdout, code } = await rig.control.sluice("discovery", "problems");
  expect(code).toBe(2);
  expect(stdout).toMatch(/orders +HELD +2 of 2/);
  await rig.answers("one,two", "/all");

  await write({ orders: { two: {} } });
  await rig.answers("two", "/all");
  await rig.state("orders", WatchState.FRESH);
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(load.answered).toBeGreaterThan(20);
});

test("changes are streamed to operators, can be recorded, and replayed", async () => {
  await write({ orders: { one: { tags: ["v1"], metadata: { team: "shop" } } } });
  await rig.apply(gateway({ all: "discovery: { registry: file, service: orders }" }));
  await rig.answers("one", "/all");
  const { stdout: found } = await rig.control.sluice("discovery", "find", "file");
  expect(found).toMatch(/^SERVICE +TAGS +PORTS\norders +-/);
  const recording = rig.control.sluice("discovery", "record", "--for", "8s");
  const client = await rig.discovery();
  const counts: number[] = [];
  for await (const { services } of client.watchServices({ service: "orders", endpoints: true })) {
    const [orders] = services;
    counts.push(orders?.endpoints.length ?? 0);
    if (counts.length === 1) await write({ orders: { one: { tags: ["v1"] }, two: {} } });
    if (orders?.endpoints.length === 2) break;
  }
  expect(counts).toEqual([1, 2]);

  const { stdout, code } = await recording;
  expect(code).toBe(0);
  const replayed: number[] = [];
  const supervisor = new RegistrySupervisor({
    source: new ReplaySource(stdout),
    holdEmptyMs: 0,
    events: { changed: (_, { endpointCount }) => replayed.push(endpointCount) },
  });
  await supervisor.add(serviceKey("orders"));
  await waitFor("the end of the recording", () => replayed.at(-1) === 2);
  await supervisor.close();
});

test("what is written wrongly is told in words, where operators look", async () => {
  const registries = `
  - { name: consul, consul: { addresses: ["http://127.0.0.1:1"], token: { env: SLUICE_TEST_NO_SUCH_TOKEN } } }
  - { name: own, leases: {} }`;
  await rig.apply(
    gateway(
      {
        all: "discovery: { registry: file, service: orders }",
        consul: "discovery: { registry: consul, service: orders }",
        unknown: "discovery: { registry: own, service: nobody }",
      },
      registries,
    ),
  );
  await writeFile(file, "services:\n  orders:\n    - { address: not-an-address, port: 80 }\n");
  const shown = async (pattern: RegExp) =>
    await waitFor(String(pattern), async () => {
      const { stdout } = await rig.control.sluice("discovery", "services");
      if (pattern.test(stdout)) return true;
      throw new Error(stdout);
    });
  await shown(/services\.json:3:\d+: address must be an IP address/);
  await shown(/the control plane's environment has no SLUICE_TEST_NO_SUCH_TOKEN/);
  await shown(/own +nobody +UNKNOWN SERVICE.*\n.* has no service of this name: sluice discovery find own\n/);
  // A registry that never answered hasn't said that there is nothing.
  const { stdout: recorded } = await rig.control.sluice("discovery", "record", "--for", "1ms");
  expect(recorded).toContain('"registry":"own"');
  expect(recorded).not.toContain('"registry":"consul"');
  const { stdout: details } = await rig.control.sluice("discovery", "registries", "consul");
  expect(details).toMatch(/^consul \(default\) +BAD_SETTINGS\n {2}kind +consul\n/);
  expect(details).toMatch(
    /\n {2}used by +\S+\/consul\n {2}history, the newest first:\n {2}\d+[sm] ago +BAD_SETTINGS .*NO_SUCH_TOKEN/,
  );
  const none = await rig.control.sluice("discovery", "registries", "nowhere");
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining("no registry nowhere") as string });
  const found = await rig.control.sluice("discovery", "find", "consul");
  expect(found).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^error: .*has no SLUICE_TEST_NO_SUCH_TOKEN/) as string,
  });
  const refused = await rig
    .apply(gateway({ all: "discovery: { registry: nowhere, service: orders }" }))
    .catch((error: unknown) => String(error));
  expect(refused).toContain("nowhere");
});
