/** A real kube-apiserver behind both data planes at once: zones and hints, and an API server that hangs or loses all that it knew. */
import { afterAll, beforeAll, expect, test } from "vitest";

import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { ask } from "../support/http.ts";
import { Kube } from "../support/kube.ts";
import { serviceOf } from "../support/kube-script.ts";
import { machineAddress } from "../support/machine-address.ts";
import { bothAnswer, shown } from "../support/planes-traffic.ts";
import type { SteadyLoad } from "../support/steady-clients.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const PATIENCE_MS = 90_000;
const SERVICE = "hinted";

let kube: Kube;
let planes: DataPlanes;
const upstreams: Upstream[] = [];

const gateway = (kubeconfig: string) => (group: string, port: number) =>
  `
gatewayGroups: [{ name: ${group}, listeners: [{ name: http, protocol: http, address: 127.0.0.1, port: ${port} }] }]
registries: [{ name: kube, gatewayGroup: ${group}, kubernetes: { kubeconfig: { file: ${kubeconfig} } } }]
services:
  - name: s
    gatewayGroup: ${group}
    hosts: [a.test]
    upstreams:
      - { name: all, discovery: { registry: kube, service: ${SERVICE}, namespace: default } }
      - { name: near, discovery: { registry: kube, service: ${SERVICE}, namespace: default, zones: [a] } }
    routes:
      - { name: near, paths: [/near], upstream: near }
      - { name: all, paths: ["/*"], upstream: all }
`;

/** Puts the slice of one instance in place, since their ports differ: where it is, and the zones that it is there for. */
async function put({ name, port }: Upstream, zone: string, ...forZones: string[]): Promise<void> {
  const hints = forZones.length > 0 ? { hints: { forZones: forZones.map((each) => ({ name: each })) } } : {};
  const slice = {
    metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": SERVICE } },
    addressType: "IPv4",
    ports: [{ name: "http", port }],
    endpoints: [{ addresses: [machineAddress()], conditions: { ready: true }, zone, ...hints }],
  };
  await kube.putSlice("default", slice);
}

/** Waits until just these instances answer on both data planes. */
const answer = (path: string, names: string) => bothAnswer(planes, names, { path });

/** Waits until Envoy has the instances' ports in these zones. */
const zonesAre = (expected: readonly (readonly [Upstream, string])[]) =>
  waitFor(
    "the localities",
    async () => {
      const { body } = await ask(planes.envoy.adminPort, { path: "/clusters?format=json" });
      const { cluster_statuses: clusters } = JSON.parse(body) as {
        readonly cluster_statuses: readonly { readonly name: string; readonly host_statuses?: readonly Host[] }[];
      };
      const hosts = clusters.find(({ name }) => name === "s/all")?.host_statuses ?? [];
      const zones = new Map(hosts.map((host) => [host.address.socket_address.port_value, host.locality?.zone]));
      if (expected.every(([{ port }, zone]) => zones.get(port) === zone)) return true;
      throw new Error(JSON.stringify([...zones]));
    },
    PATIENCE_MS,
  );

/** What is read of an endpoint in Envoy's /clusters. */
interface Host {
  readonly address: { readonly socket_address: { readonly port_value: number } };
  readonly locality?: { readonly zone?: string };
}

/** With pauses, since two clients without any and the test's own requests would take the three instances in turn, each always the same. */
const startLoad = (port: number) => startSteadyLoad(port, 2, () => ({}), { pauseMs: 5 });

async function expectNoFailure(loads: readonly SteadyLoad[]): Promise<void> {
  await Promise.all(loads.map((load) => load.stop()));
  expect(loads.map(({ failures }) => failures)).toEqual([[], []]);
  expect(Math.min(...loads.map(({ answered }) => answered))).toBeGreaterThan(20);
}

beforeAll(async () => {
  kube = await Kube.start();
  for (const name of ["near", "lent", "far"]) upstreams.push(await startUpstream(name, 0, machineAddress()));
  await kube.call("POST", "/api/v1/namespaces/default/services", serviceOf(SERVICE));
  const [near, lent, far] = upstreams as [Upstream, Upstream, Upstream];
  await put(near, "a", "a");
  await put(lent, "b", "a");
  await put(far, "b", "b");
  planes = await startDataPlanes(gateway(await kube.kubeconfig()), "a.test");
});

afterAll(async () => {
  await planes?.stop();
  for (const upstream of upstreams) await upstream.close();
  await kube?.stop();
});

test("zones reach data planes as localities, and hints as the zones that instances are lent to", async () => {
  const [near, lent, far] = upstreams as [Upstream, Upstream, Upstream];
  await answer("/", "far,lent,near");
  await answer("/near", "lent,near");
  await zonesAre([
    [near, "a"],
    [lent, "a"],
    [far, "b"],
  ]);
  const { stdout } = await planes.control.sluice("discovery", "endpoints", SERVICE);
  expect(stdout).toMatch(/ b for a /);
  // One without a hint, and none counts.
  await put(far, "b");
  await answer("/near", "near");
  await zonesAre([
    [near, "a"],
    [lent, "b"],
    [far, "b"],
  ]);
});

test("an account without rights is shown as denied and costs no request, and all goes on once it has them", async () => {
  await bothAnswer(planes, "far,lent,near");
  await shown(planes, "FRESH");
  const loads = [startLoad(planes.native.port), startLoad(planes.envoy.port)];
  const account = await kube.addServiceAccount("default", "powerless");
  await kube.kubeconfig(kube.serviceAccountToken(account, 3_600));
  await shown(planes, "PERMISSION DENIED", { words: /system:serviceaccount:default:powerless.*cannot (list|watch)/ });
  await bothAnswer(planes, "far,lent,near");
  await kube.kubeconfig();
  await shown(planes, "FRESH");
  const [, , far] = upstreams as [Upstream, Upstream, Upstream];
  await kube.deleteSlice("default", far.name);
  await bothAnswer(planes, "lent,near");
  await put(far, "b");
  await bothAnswer(planes, "far,lent,near");
  await expectNoFailure(loads);
});

test("an API server that hangs, dies, and comes back with nothing costs no request, and the state says so", async () => {
  const [near, lent, far] = upstreams as [Upstream, Upstream, Upstream];
  await shown(planes, "FRESH");
  const loads = [startLoad(planes.native.port), startLoad(planes.envoy.port)];
  kube.signal("SIGSTOP");
  await shown(planes, "STALE");
  kube.signal("SIGCONT");
  await shown(planes, "FRESH");
  await kube.kill({ lose: true });
  await shown(planes, "STALE");
  await kube.restart();
  await shown(planes, "HELD");
  await answer("/", "far,lent,near");
  await kube.call("POST", "/api/v1/namespaces/default/services", serviceOf(SERVICE));
  await put(near, "a");
  await put(lent, "b");
  await shown(planes, "FRESH");
  await answer("/", "lent,near");
  await put(far, "b");
  await answer("/", "far,lent,near");
  await expectNoFailure(loads);
});
