import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import { type ServiceKey, type ServiceSnapshot, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { keyText, LIST_MAX, type ListedService, type RegistryIdentity, type Source } from "../source.ts";
import type { LeasePlace } from "./lease.ts";
import type { LeaseTable } from "./table.ts";

/** Between two snapshots of a service: what is reported meanwhile comes with the second. The first of a quiet time is not held back. */
const COALESCE_MS = 5;

/** One registry of the kind `leases`: what was reported to it. */
export class LeaseSource implements Source {
  readonly #table: LeaseTable;
  readonly #place: LeasePlace;

  constructor(table: LeaseTable, place: LeasePlace) {
    this.#table = table;
    this.#place = place;
  }

  async *watch(service: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    let changes = 0;
    let wake = () => {};
    const unwatch = this.#table.watch(this.#place, service, () => {
      changes++;
      wake();
    });
    const onAbort = () => wake();
    signal.addEventListener("abort", onAbort);
    try {
      while (!signal.aborted) {
        const seen = changes;
        const yieldedMs = performance.now();
        yield this.#snapshot(service, seen);
        if (changes === seen && !signal.aborted) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          wake = () => {};
        }
        const restMs = COALESCE_MS - (performance.now() - yieldedMs);
        if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs));
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      unwatch();
    }
  }

  async list(): Promise<readonly ListedService[]> {
    const byName = this.#table.services(this.#place).map((key) => [keyText(key), key] as const);
    const sorted = byName.sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, LIST_MAX);
    return sorted.map(([, key]) => ({ key, tags: [], ports: [] }));
  }

  async probe(): Promise<RegistryIdentity> {
    return { clusterIdentity: "", version: "Sluice" };
  }

  async close(): Promise<void> {}

  #snapshot(service: ServiceKey, changes: number): ServiceSnapshot {
    const leases = this.#table.instances(this.#place, service);
    return create(ServiceSnapshotSchema, {
      ...{ service, endpoints: leases.map(({ endpoint }) => endpoint) },
      revision: String(changes),
      observeTime: timestampFromMs(Date.now()),
      unknownService: leases.length === 0,
    });
  }
}
