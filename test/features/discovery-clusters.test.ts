/** Several Kubernetes clusters in one gateway group: each by its own words, and one that is away takes no other with it. */
import { expect, test } from "vitest";

import { WatchState } from "#sluice/admin/v1/discovery_service_pb.ts";

import { DiscoveryRig } from "../support/discovery-rig.ts";
import { KubeScript, serviceOf } from "../support/kube-script.ts";
import { waitFor } from "../support/wait.ts";

/** A slice with the one instance that listens on this port of this machine. */
const slice = (name: string, port: number, conditions: Readonly<Record<string, boolean>> = { ready: true }) => ({
  metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": "orders" } },
  addressType: "IPv4",
  ports: [{ name: "http", port }],
  endpoints: [{ addresses: ["127.0.0.1"], conditions }],
});

const registry = (name: string, cluster: KubeScript): string => {
  const { server, ca = "" } = cluster.access();
  const pem = ca.trim().replaceAll("\n", "\\n");
  const apiServer = `{ url: "${server.href}", token: { value: good }, tls: { caCertificates: "${pem}" } }`;
  return `  - { name: ${name}, kubernetes: { apiServer: ${apiServer} } }`;
};

const gateway = (east: KubeScript, west: KubeScript) => `
registries:
${registry("east", east)}
${registry("west", west)}
services:
  - name: orders
    hosts: [a.test]
    upstreams:
      - { name: east, discovery: { registry: east, service: orders, namespace: default } }
      - { name: west, discovery: { registry: west, service: orders, namespace: default } }
    routes:
      - { name: east, paths: [/east], upstream: east }
      - { name: west, paths: [/west], upstream: west }
`;

test("two clusters have a service of one name, and one goes on while the other is away", async () => {
  await using stack = new AsyncDisposableStack();
  const start = async () => stack.adopt(await KubeScript.start(), (cluster) => cluster.close());
  const [east, west] = [await start(), await KubeScript.start()];
  const rig = stack.use(await DiscoveryRig.start());
  const port = async (name: string) => (await rig.upstream(name)).port;
  for (const cluster of [east, west]) cluster.put("services", serviceOf("orders"));
  east.put("endpointslices", slice("first", await port("east-1")));
  east.put("endpointslices", slice("second", await port("east-2")));
  west.put("endpointslices", slice("first", await port("west-1")));
  await rig.apply(gateway(east, west));
  await rig.answers("east-1,east-2", "/east");
  await rig.answers("west-1", "/west");
  // One watch of each kind to a cluster, however many upstreams.
  await waitFor("one watch each", () => [east, west].every((cluster) => cluster.watching("endpointslices") === 1));

  await west.close();
  const client = await rig.discovery();
  const states = async () => {
    const { services } = await client.listWatchedServices({ service: "orders" });
    return new Map(services.map(({ registry: name, state }) => [name, state]));
  };
  await waitFor("the cluster that is away to be stale", async () => {
    const found = await states();
    return found.get("west") === WatchState.STALE;
  });
  // One of east's goes, slice and all; then a third comes, and the second drains.
  east.delete("endpointslices", "default", "first");
  await rig.answers("east-2", "/east");
  east.put("endpointslices", slice("third", await port("east-3")));
  east.put("endpointslices", slice("second", await port("east-2"), { ready: false, serving: true, terminating: true }));
  await rig.answers("east-3", "/east");
  await waitFor("east to be fresh", async () => (await states()).get("east") === WatchState.FRESH);
  expect([...(await rig.shares("/west")).keys()]).toEqual(["west-1"]);
});
