import { isIP } from "node:net";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import {
  EndpointHealth,
  type EndpointSchema,
  type ServiceKey,
  type ServiceSnapshot,
  ServiceSnapshotSchema,
} from "#sluice/discovery/v1/snapshot_pb.ts";

import type { Addresses } from "../host-names.ts";
import { DiscoveryError } from "../source.ts";

/** What is read of an entry of /v1/health/service/NAME. */
interface HealthEntry {
  readonly Node: {
    readonly Node?: string;
    readonly Address?: string;
    readonly Meta?: Readonly<Record<string, string>> | null;
    readonly Locality?: Locality | null;
  };
  readonly Service: {
    readonly ID?: string;
    readonly Address?: string;
    readonly Port?: number;
    readonly Tags?: readonly string[] | null;
    readonly Meta?: Readonly<Record<string, string>> | null;
    readonly Weights?: { readonly Passing?: number; readonly Warning?: number } | null;
    readonly Locality?: Locality | null;
  };
  readonly Checks?: readonly { readonly Status?: string }[] | null;
}

interface Locality {
  readonly Region?: string;
  readonly Zone?: string;
}

/** Whether instances with a warning get traffic. */
export interface ConvertOptions {
  readonly passingOnly: boolean;
}

/** Entries of an answer, checked as far as they are read. @throws DiscoveryError "bad_answer" */
export function entriesOf(body: unknown): readonly HealthEntry[] {
  const isEntry = (entry: unknown): entry is HealthEntry =>
    typeof entry === "object" && entry !== null && "Node" in entry && "Service" in entry;
  if (!Array.isArray(body) || !body.every(isEntry)) {
    throw new DiscoveryError("bad_answer", "Consul: the answer is not a list of service instances");
  }
  return body;
}

/** Host names instead of addresses: Consul takes both, endpoints are addresses. */
export const hostNamesOf = (entries: readonly HealthEntry[]): string[] => [
  ...new Set(entries.map(addressOf).filter((address) => address !== "" && isIP(address) === 0)),
];

/** A service's instances as Consul's health endpoint lists them. */
export function toSnapshot(
  service: ServiceKey,
  entries: readonly HealthEntry[],
  lookup: Addresses,
  options: ConvertOptions,
): ServiceSnapshot {
  const endpoints = entries.flatMap((entry) => {
    const address = addressOf(entry);
    const addresses = isIP(address) === 0 ? (lookup.get(address) ?? []) : [address];
    return addresses.map((each) => toEndpoint(entry, each, options));
  });
  return create(ServiceSnapshotSchema, { service, endpoints });
}

/** Empty when the service listens on its node's address. */
const addressOf = ({ Service, Node }: HealthEntry): string => Service.Address || Node.Address || "";

function toEndpoint(entry: HealthEntry, address: string, { passingOnly }: ConvertOptions) {
  const { Service } = entry;
  const status = statusOf(entry);
  const weight = status === "warning" ? Service.Weights?.Warning : Service.Weights?.Passing;
  const isHealthy = status === "passing" || (status === "warning" && !passingOnly);
  return {
    address,
    port: Service.Port ?? 0,
    hostname: Service.ID ?? "",
    ...(weight !== undefined && { weight }),
    health: isHealthy ? EndpointHealth.HEALTHY : EndpointHealth.UNHEALTHY,
    ...placeOf(entry),
    metadata: { ...Service.Meta },
    tags: [...(Service.Tags ?? [])],
  } satisfies MessageInitShape<typeof EndpointSchema>;
}

/**
 * Where an instance is: its own locality or its node's, else what the metadata of either calls `region` and `zone`, where those keep it whose
 * Consul knows no localities.
 */
function placeOf({ Node, Service }: HealthEntry): { region: string; zone: string } {
  const locality = Service.Locality ?? Node.Locality;
  if (locality) return { region: locality.Region ?? "", zone: locality.Zone ?? "" };
  const meta = [Service.Meta, Node.Meta].find((each) => each?.["zone"] ?? each?.["region"]);
  return { region: meta?.["region"] ?? "", zone: meta?.["zone"] ?? "" };
}

/** The worst of all checks of the instance and its node; maintenance is a critical check. Without checks it is passing. */
function statusOf({ Checks }: HealthEntry): "passing" | "warning" | "critical" {
  const all = (Checks ?? []).map(({ Status }) => Status);
  if (all.every((status) => status === "passing")) return "passing";
  return all.every((status) => status === "passing" || status === "warning") ? "warning" : "critical";
}
