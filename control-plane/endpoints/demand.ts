import { create } from "@bufbuild/protobuf";

import { type ServiceKey, ServiceKeySchema } from "#sluice/discovery/v1/snapshot_pb.ts";
import type { Discovery } from "#sluice/model/v1/upstream_pb.ts";

import type { Canonical } from "../../discovery/canonical.ts";
import { discoveryKey } from "../model/discovery-key.ts";

/** What some upstreams need of a registry. */
export interface Demand {
  readonly gatewayGroup: string;
  /** Of whoever wanted it first: what is asked of the registry is the same for all. */
  readonly discovery: Discovery;
  /** Mostly one. */
  users: readonly User[];
  served: Canonical | undefined;
  /** The registry had its time to answer. */
  overdue: boolean;
  /** Until then. */
  timer: NodeJS.Timeout | undefined;
}

/** An upstream that needs a registry's service. */
export interface User {
  /** "service/upstream" */
  readonly name: string;
  /** What it takes of the endpoints. */
  readonly discovery: Discovery;
}

/** What an upstream wants. */
export interface Want {
  /** "service/upstream" */
  readonly user: string;
  /** A discoveryKey. */
  readonly key: string;
}

/** What a registry is asked for. */
export const toKey = ({ service, namespace, group, cluster }: Discovery): ServiceKey =>
  create(ServiceKeySchema, { service, namespace, group, cluster });

/** The discoveryKey of a service of a registry. */
export const keyOf = (registry: string, { service, namespace, group, cluster }: ServiceKey): string =>
  discoveryKey({ registry, service, namespace, group, cluster });
