/** The xDS servers that are compared: our control plane as it is run, and go-control-plane's snapshot cache with the same resources. */
import { join } from "node:path";

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

import { resourceType } from "#proto/resource-types.ts";
import { GatewayService } from "#sluice/admin/v1/gateway_service_pb.ts";
import { LeaseService } from "#sluice/discovery/v1/lease_service_pb.ts";

import { authorized } from "../support/control-plane.ts";
import { ControlPlane } from "../support/gateway.ts";
import { GoControlPlane } from "../support/go-control-plane.ts";
import type { Change } from "./xds-fleet.ts";

/** The gateway group that is measured. */
export const group = "default";

const ENDPOINTS = 10;
/** Services whose endpoints come from a registry and change; those of the others are written in the gateway. */
const CHANGING = 100;
const SERVICES_PER_APPLY = 1_000;
const LEASE_MS = 3_600_000;
const EDS = resourceType("EDS").typeUrl;

/** A running server. */
export interface XdsPeer {
  readonly name: string;
  readonly pid: number;
  /** "host:port" of the xDS port. */
  readonly target: string;
  /** Moves one endpoint of one cluster; each call another. */
  change(at: number): Change;
  /** Adds a service with its cluster and endpoints. */
  add(at: number): Change;
  stop(): Promise<void>;
}

/** Starts our control plane with so many services, each of one cluster with ten endpoints. */
export async function startSluice(dir: string, services: number): Promise<XdsPeer> {
  const plane = await ControlPlane.start(join(dir, "sluice"));
  const token = await plane.token();
  const baseUrl = `http://127.0.0.1:${plane.adminPort}`;
  const transport = createConnectTransport({ baseUrl, httpVersion: "1.1", interceptors: [authorized(token)] });
  const gateway = createClient(GatewayService, transport);
  const leases = createClient(LeaseService, transport);
  try {
    await gateway.apply({ gateway: { registries: [{ name: "leases", kind: { case: "leases", value: {} } }] } });
    const changing = Math.min(CHANGING, services);
    for (let at = 0; at < changing; at++) {
      const instances = Array.from({ length: ENDPOINTS }, (_, endpoint) => lease(at, endpoint, 8_000));
      await leases.report({ registry: "leases", instances });
    }
    for (let from = 0; from < services; from += SERVICES_PER_APPLY) {
      const length = Math.min(SERVICES_PER_APPLY, services - from);
      const some = Array.from({ length }, (_, at) => service(from + at, from + at < changing));
      await gateway.apply({ gateway: { services: some } }, { timeoutMs: 120_000 });
    }
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
    return {
      name: "sluice",
      pid: plane.program.pid,
      target: `127.0.0.1:${plane.xdsPort}`,
      change(at) {
        const { name, endpoint, ttl } = lease(at % changing, 0, 9_000 + at);
        const instance = { name, endpoint, ttl: `${ttl.seconds}s` };
        const body = JSON.stringify({ registry: "leases", instances: [instance] });
        const url = `${baseUrl}/sluice.discovery.v1.LeaseService/Report`;
        return { typeUrl: EDS, name: `s${at % changing}/default`, url, headers, body };
      },
      add(at) {
        const added = { ...service(services + at, false), name: `added${at}`, hosts: [`added${at}.bench.test`] };
        const url = `${baseUrl}/sluice.admin.v1.ServiceService/CreateService`;
        return { typeUrl: EDS, name: `added${at}/default`, url, headers, body: JSON.stringify({ service: added }) };
      },
      stop: () => plane.program.stop("SIGKILL"),
    };
  } catch (error) {
    await plane.program.stop("SIGKILL");
    throw error;
  }
}

/** Starts go-control-plane with resources that recordResources() has written. */
export async function startGoControlPlane(resources: string): Promise<XdsPeer> {
  const { program, target, control } = await GoControlPlane.start({ group, resources });
  const post = (path: string, query: Record<string, string>, name: string): Change => ({
    ...{ typeUrl: EDS, name, url: `http://${control}${path}?${new URLSearchParams(query).toString()}` },
  });
  return {
    name: "go-control-plane",
    pid: program.pid,
    target,
    change(at) {
      const name = `s${at % CHANGING}/default`;
      return post("/change", { name, port: String(9_000 + at) }, name);
    },
    add: (at) => post("/add", { from: "s0/default", name: `added${at}/default` }, `added${at}/default`),
    stop: () => program.stop("SIGKILL"),
  };
}

const address = (service: number, endpoint: number) => `10.${service >> 8}.${service & 255}.${endpoint + 1}`;

const lease = (at: number, endpoint: number, port: number) => ({
  name: { service: { service: `s${at}` }, id: `i${endpoint}` },
  endpoint: { address: address(at, endpoint), port },
  ttl: durationFromMs(LEASE_MS),
});

const service = (at: number, isDiscovered: boolean) => ({
  name: `s${at}`,
  hosts: [`s${at}.bench.test`],
  routes: [{ name: "all", paths: ["/*"] }],
  upstreams: [
    isDiscovered
      ? { name: "default", discovery: { registry: "leases", service: `s${at}` } }
      : {
          name: "default",
          nodes: Array.from({ length: ENDPOINTS }, (_, endpoint) => ({ host: address(at, endpoint), port: 8_000 })),
        },
  ],
});
