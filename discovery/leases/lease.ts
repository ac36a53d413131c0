import { isIP } from "node:net";

import { toBinary } from "@bufbuild/protobuf";

import { type Endpoint, EndpointSchema, type ServiceKey } from "#sluice/discovery/v1/snapshot_pb.ts";

/** Instances that all registries of this kind hold together. */
export const LEASES_MAX = 50_000;

/** Of an instance, with its metadata and tags. */
const ENDPOINT_BYTES_MAX = 8 * 1024;
const KEY_LENGTH_MAX = 1_024;
const WEIGHT_MAX = 1_000_000;
const PORT_MAX = 65_535;

/** A registry of the kind `leases`. */
export interface LeasePlace {
  readonly gatewayGroup: string;
  readonly registry: string;
}

/** Names an instance within a registry. */
export interface LeaseName {
  readonly service: ServiceKey;
  readonly id: string;
}

/** An instance that lives as long as somebody says so. */
export interface Lease extends LeaseName {
  readonly endpoint: Endpoint;
  readonly ttlMs: number;
}

/** What is wrong with a reported instance: the field below it, and how. */
export interface LeaseProblem {
  readonly field: string;
  readonly message: string;
}

/** A lease's identity as one string; different for different ones. */
export const leaseKey = ({ gatewayGroup, registry }: LeasePlace, { service: key, id }: LeaseName): string =>
  JSON.stringify([gatewayGroup, registry, key.service, key.namespace, key.group, key.cluster, id]);

/** What data planes couldn't be told, or what is too large to keep; all problems at once. */
export function checkLease({ service, endpoint }: Pick<Lease, "service" | "endpoint">): LeaseProblem[] {
  const problems: LeaseProblem[] = [];
  const refuse = (field: string, message: string) => problems.push({ field, message });
  const { service: name, namespace, group, cluster } = service;
  if (name === "") refuse("name.service.service", "is missing");
  if (name.length + namespace.length + group.length + cluster.length > KEY_LENGTH_MAX) {
    refuse("name.service", `is longer than ${KEY_LENGTH_MAX} characters`);
  }
  if (isIP(endpoint.address) === 0) refuse("endpoint.address", "must be an IP address");
  if (endpoint.port < 1 || endpoint.port > PORT_MAX) refuse("endpoint.port", `must be from 1 to ${PORT_MAX}`);
  for (const [port, number] of Object.entries(endpoint.ports)) {
    if (number < 1 || number > PORT_MAX) refuse(`endpoint.ports["${port}"]`, `must be from 1 to ${PORT_MAX}`);
  }
  if ((endpoint.weight ?? 0) > WEIGHT_MAX) refuse("endpoint.weight", `must be at most ${WEIGHT_MAX}`);
  if (toBinary(EndpointSchema, endpoint).length > ENDPOINT_BYTES_MAX) {
    refuse("endpoint", `is larger than ${ENDPOINT_BYTES_MAX} bytes`);
  }
  return problems;
}
