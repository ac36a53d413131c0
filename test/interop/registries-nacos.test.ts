/** The Nacos source under its supervisor, against real servers of both generations, with authentication. */
import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { EndpointHealth, ServiceKeySchema, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import type { NacosSettings } from "../../discovery/nacos/settings.ts";
import { NacosSource } from "../../discovery/nacos/source.ts";
import { RegistrySupervisor } from "../../discovery/supervise.ts";
import { NacosApplication } from "../support/nacos-application.ts";
import { Nacos } from "../support/nacos.ts";
import { waitFor } from "../support/wait.ts";

const cleanups: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

const settingsOf = (nacos: Nacos): NacosSettings => ({
  addresses: [nacos.url],
  username: nacos.username,
  password: nacos.password,
});

/** Supervises a source that watches one service, and notes everything that there would be to serve. */
function supervise(nacos: Nacos, service: string, more: Partial<NacosSettings> = {}, cluster = "") {
  const served: ServiceSnapshot[] = [];
  const supervisor = new RegistrySupervisor({
    source: new NacosSource({ ...settingsOf(nacos), ...more }),
    holdEmptyMs: 300_000,
    events: { changed: (_, now) => void served.push(now.decode()) },
  });
  const key = create(ServiceKeySchema, { service, cluster });
  void supervisor.add(key);
  cleanups.push(() => supervisor.close());
  return {
    served,
    supervisor,
    addresses: () => served.at(-1)?.endpoints.map(({ address }) => address),
    report: () => supervisor.report(key),
    state: () => supervisor.report(key)?.state,
  };
}

async function application(nacos: Nacos): Promise<NacosApplication> {
  const made = await NacosApplication.start(nacos);
  cleanups.push(() => made.close());
  return made;
}

describe.each([2, 3] as const)("Nacos %d", (generation) => {
  let nacos: Nacos;
  beforeAll(async () => {
    nacos = await Nacos.start(generation);
  });
  afterAll(async () => {
    await nacos?.stop();
  });

  test.each(["grpc", "http"] as const)("instances come, change, flap and go (%s)", async (protocol) => {
    const service = `orders-${protocol}`;
    const orders = supervise(nacos, service, { protocol });
    await waitFor("the first answer", () => orders.state() === "fresh");
    const one = await application(nacos);
    await one.register(service, "10.0.0.1", { weight: 2.5, metadata: { zone: "z1" } });
    await waitFor("it", () => orders.addresses()?.join() === "10.0.0.1");
    expect(orders.served.at(-1)?.endpoints[0]).toMatchObject({
      weight: 250,
      zone: "z1",
      health: EndpointHealth.HEALTHY,
    });
    await one.register(service, "10.0.0.1", { weight: 0 });
    await waitFor("its weight", () => orders.served.at(-1)?.endpoints[0]?.weight === 0);
    for (let i = 0; i < 10; i++) {
      await one.register(service, "10.0.0.1", { weight: i + 1 });
      if (i % 4 === 0) await one.deregister(service, "10.0.0.1");
    }
    const other = await application(nacos);
    await other.register(service, "10.0.0.2");
    await waitFor("both", () => orders.addresses()?.join() === "10.0.0.1,10.0.0.2");
    await waitFor("the last weight", () => orders.served.at(-1)?.endpoints[0]?.weight === 1_000);
    // A program that ends takes its instances with it.
    await one.close();
    await waitFor("the other alone", () => orders.addresses()?.join() === "10.0.0.2");
  });

  test("two watches of one service share a subscription and see their clusters", async () => {
    const all = supervise(nacos, "shared");
    const app = await application(nacos);
    await app.register("shared", "10.0.0.1", { clusterName: "c1" });
    await waitFor("it", () => all.addresses()?.join() === "10.0.0.1");
    const c2 = create(ServiceKeySchema, { service: "shared", cluster: "c2" });
    void all.supervisor.add(c2);
    await waitFor("none in the other cluster", () => all.supervisor.report(c2)?.served?.endpointCount === 0);
    await waitFor("it in the list", async () => {
      const list = await all.supervisor.list(AbortSignal.timeout(60_000));
      return list.some(({ key }) => key.service === "shared");
    });
    await all.supervisor.remove(c2);
    await app.register("shared", "10.0.0.1", { clusterName: "c1", weight: 3 });
    await waitFor("news in spite of that", () => all.served.at(-1)?.endpoints[0]?.weight === 300);
  });

  test("a wrong password is shown, in the server's words", async () => {
    const watching = supervise(nacos, "orders", { password: "wrong" });
    await waitFor("the refusal", () => watching.state() === "permission_denied");
    expect(watching.report()?.problem?.message).toContain("login as nacos: ");
    expect(watching.report()?.problem?.message).not.toContain("wrong");
  });

  test("no password where one is needed is shown", async () => {
    const watching = supervise(nacos, "orders", { username: "", password: "" });
    await waitFor("the refusal", () => watching.state() === "permission_denied");
    expect(watching.served).toEqual([]);
  });

  test("a server that hangs shows, and what it said last is served until it goes on", async () => {
    const watching = supervise(nacos, "stopped");
    const app = await application(nacos);
    await app.register("stopped", "10.0.0.1");
    await waitFor("the endpoint", () => watching.addresses()?.length === 1);
    nacos.signal("SIGSTOP");
    try {
      await waitFor("the outage to show", () => watching.state() === "stale");
    } finally {
      nacos.signal("SIGCONT");
    }
    await waitFor("it to be fresh again", () => watching.state() === "fresh", 60_000);
    expect(watching.served.slice(1).every(({ endpoints }) => endpoints.length === 1)).toBe(true);
  });

  test("a server that crashes and forgets everything empties nothing", async () => {
    const watching = supervise(nacos, "lost");
    const app = await application(nacos);
    await app.register("lost", "10.0.0.1");
    await waitFor("the endpoint", () => watching.addresses()?.length === 1);
    const before = watching.served.length;
    await nacos.kill({ lose: true });
    await waitFor("the outage to show", () => watching.state() === "stale");
    await nacos.restart();
    await waitFor("the emptiness to be held", () => watching.state() === "held", 60_000);
    expect(watching.addresses()).toEqual(["10.0.0.1"]);
    await (await application(nacos)).register("lost", "10.0.0.2");
    await waitFor("the new endpoint", () => watching.addresses()?.join() === "10.0.0.2", 60_000);
    expect(watching.served.slice(before).every(({ endpoints }) => endpoints.length === 1)).toBe(true);
  });
});

describe("Nacos 3, persistent instances", () => {
  let nacos: Nacos;
  beforeAll(async () => {
    nacos = await Nacos.start(3);
  });
  afterAll(async () => {
    await nacos?.stop();
  });

  test("instances that are switched off take no part, and the next server of the list is taken when one is away", async () => {
    const watching = supervise(nacos, "kept", { addresses: ["http://127.0.0.1:1", nacos.url] });
    await nacos.register("kept", { ip: "10.0.0.1", port: 80, clusterName: "c1", metadata: { version: "v2" } });
    await nacos.register("kept", { ip: "10.0.0.2", port: 80, enabled: false });
    await nacos.register("kept", { ip: "10.0.0.3", port: 80 });
    await waitFor("two", () => watching.addresses()?.join() === "10.0.0.1,10.0.0.3", 60_000);
    expect(watching.served.at(-1)?.endpoints[0]?.metadata).toMatchObject({ version: "v2", "nacos.cluster": "c1" });
    await nacos.deregister("kept", { ip: "10.0.0.1", port: 80, clusterName: "c1" });
    await waitFor("one", () => watching.addresses()?.join() === "10.0.0.3");
  });
});
