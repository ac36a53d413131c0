import { create, type MessageInitShape } from "@bufbuild/protobuf";

import type { Gateway, GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";
import { GatewayGroupSchema, ListenerProtocol, ListenerSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { type Service, ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import type { AdminClient } from "../client.ts";
import { GROUP_DEFAULT, groupOf } from "../objects.ts";
import { type Echo, startEcho } from "./echo.ts";

/** Marks the service that the demo made, so that a later start brings its instances up again. */
const DEMO_LABEL = "sluice.demo";

const INSTANCE_PORTS = [19_081, 19_082] as const;

/** A service that belongs to the user may have as many nodes as it likes; the demo's own has two. */
const INSTANCES_MAX = 8;

const PROXY_PORT_DEFAULT = 9080;

/** What the demo did. */
export type Demo =
  | { readonly kind: "running"; readonly instances: readonly Echo[] }
  /** There are services already, and none is the demo's. */
  | { readonly kind: "left-alone" };

/**
 * Gives an empty gateway a service "demo", which sends every path to two echo instances in this process; starts the instances of a demo
 * service that is there already. A gateway with other services is left as it is. Throws what the admin API answers.
 */
export async function startDemo({ gateways }: Pick<AdminClient, "gateways">): Promise<Demo> {
  const { gateway, revision } = await gateways.export({});
  const services = gateway?.services ?? [];
  const own = services.find((service) => service.labels[DEMO_LABEL] === "true");
  if (own !== undefined) return { kind: "running", instances: await startInstances(nodePorts(own), true) };
  if (services.length > 0) return { kind: "left-alone" };
  const instances = await startInstances(INSTANCE_PORTS, false);
  try {
    await gateways.apply({ gateway: demoGateway(gateway, instances), expectedRevision: revision });
  } catch (error) {
    for (const instance of instances) instance.close();
    throw error;
  }
  return { kind: "running", instances };
}

/** Ports on this machine that the service sends requests to. */
const nodePorts = (service: Service): number[] =>
  service.upstreams
    .flatMap(({ nodes }) => nodes)
    .filter(({ host }) => host === "127.0.0.1")
    .map(({ port }) => port)
    .slice(0, INSTANCES_MAX);

async function startInstances(ports: readonly number[], exact: boolean): Promise<Echo[]> {
  const started = await Promise.all(ports.map((port, index) => startEcho(`echo-${index + 1}`, port, exact)));
  return started.filter((instance) => instance !== undefined);
}

function demoGateway(stored: Gateway | undefined, instances: readonly Echo[]): MessageInitShape<typeof GatewaySchema> {
  const service = create(ServiceSchema, {
    name: "demo",
    description: "Made by sluice up --demo; change it or delete it.",
    labels: { [DEMO_LABEL]: "true" },
    upstreams: [{ name: "default", nodes: instances.map(({ port }) => ({ host: "127.0.0.1", port })) }],
    routes: [{ name: "everything", paths: ["/*"] }],
  });
  const group =
    stored?.gatewayGroups.find(({ name }) => name === groupOf(service)) ??
    create(GatewayGroupSchema, { name: GROUP_DEFAULT });
  if (group.listeners.length > 0) return { services: [service] };
  const listener = { name: "http", protocol: ListenerProtocol.HTTP, address: "127.0.0.1", port: PROXY_PORT_DEFAULT };
  group.listeners.push(create(ListenerSchema, listener));
  return { gatewayGroups: [group], services: [service] };
}
