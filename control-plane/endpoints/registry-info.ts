import type { DiscoveryErrorKind, RegistryIdentity, Remark } from "../../discovery/source.ts";
import { keyText } from "../../discovery/source.ts";
import type { RegistrySupervisor } from "../../discovery/supervise.ts";

/** Services of a registry that are told of: those where something is wrong, and no more than a row of the database holds well. */
const SERVICES_MAX = 500;
const MESSAGE_LENGTH_MAX = 300;

/** What the replica that watches a registry says of it, for the others. */
export interface RegistryInfo {
  readonly identity: RegistryIdentity;
  readonly problem?: { readonly kind: DiscoveryErrorKind; readonly message: string } | undefined;
  /** By keyText: what is wrong with services, beside what is wrong with the whole registry. */
  readonly services?: Readonly<Record<string, Remark>>;
}

/** What this replica says of a registry that it watches. */
export function describeRegistry(supervisor: RegistrySupervisor): string {
  const { version, clusterIdentity, outage } = supervisor;
  const problem =
    outage === undefined || outage.kind === "bug" ? undefined : { kind: outage.kind, message: outage.message };
  const info: RegistryInfo = { identity: { version, clusterIdentity }, problem, services: remarksOf(supervisor) };
  return JSON.stringify(info);
}

function remarksOf(supervisor: RegistrySupervisor): Record<string, Remark> {
  const remarks: Record<string, Remark> = {};
  let count = 0;
  for (const { key, failure, held } of supervisor.reports()) {
    if (failure === undefined && held === undefined) continue;
    if (++count > SERVICES_MAX) break;
    remarks[keyText(key)] = {
      ...(failure !== undefined && { failure: { ...failure, message: failure.message.slice(0, MESSAGE_LENGTH_MAX) } }),
      ...(held !== undefined && { held: { reason: held.reason, sinceMs: held.sinceMs, untilMs: held.untilMs } }),
    };
  }
  return remarks;
}

/** Reads what another replica wrote, which may be of another version. */
export function parseRegistryInfo(info: string): RegistryInfo {
  const identity = { clusterIdentity: "", version: "" };
  try {
    return { identity, ...(JSON.parse(info) as Partial<RegistryInfo>) };
  } catch {
    return { identity };
  }
}
