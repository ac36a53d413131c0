import { fromJson, type JsonValue } from "@bufbuild/protobuf";

import { type ServiceKey, type ServiceSnapshot, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { keyText, type ListedService, type RegistryIdentity, type Source } from "../source.ts";

/** Plays what `sluice discovery record` wrote: each service's snapshots in their order, as fast as they are taken. */
export class ReplaySource implements Source {
  readonly #recorded: ReadonlyMap<string, readonly ServiceSnapshot[]>;

  /** @param recording lines of JSON */
  constructor(recording: string) {
    const snapshots = recording
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => fromJson(ServiceSnapshotSchema, (JSON.parse(line) as { snapshot: JsonValue }).snapshot));
    this.#recorded = Map.groupBy(snapshots, ({ service }) => (service === undefined ? "" : keyText(service)));
  }

  async *watch(key: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    for (const snapshot of this.#recorded.get(keyText(key)) ?? []) {
      if (signal.aborted) return;
      yield { ...snapshot };
    }
    // The end of the recording: nothing more happens.
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve());
    });
  }

  async list(): Promise<readonly ListedService[]> {
    const keys = [...this.#recorded.values()].flatMap(([first]) => first?.service ?? []);
    return keys.map((key) => ({ key, tags: [], ports: [] }));
  }

  async probe(): Promise<RegistryIdentity> {
    return { clusterIdentity: "", version: "recording" };
  }

  async close(): Promise<void> {}
}
