import { create } from "@bufbuild/protobuf";

import { ServiceKeySchema, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import type { Source } from "../../discovery/source.ts";

/** A watch of a source that goes on in the background, with all that it yielded. */
export interface Watching {
  readonly snapshots: readonly ServiceSnapshot[];
  /** What it threw, once it has. */
  readonly error: unknown;
  /** Addresses of the latest snapshot; undefined before the first. */
  readonly addresses: string[] | undefined;
  stop(): Promise<void>;
}

/** Watches a service of a source, without a supervisor. */
export function startWatching(
  source: Source,
  key: { service: string; namespace?: string; group?: string; cluster?: string },
): Watching {
  const abort = new AbortController();
  const snapshots: ServiceSnapshot[] = [];
  let error: unknown;
  const done = (async () => {
    try {
      for await (const snapshot of source.watch(create(ServiceKeySchema, key), abort.signal)) snapshots.push(snapshot);
    } catch (thrown) {
      error = thrown;
    }
  })();
  return {
    snapshots,
    get error() {
      return error;
    },
    get addresses() {
      return snapshots.at(-1)?.endpoints.map(({ address }) => address);
    },
    async stop() {
      abort.abort();
      await done;
    },
  };
}
