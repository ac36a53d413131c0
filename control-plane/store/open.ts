import { create } from "@bufbuild/protobuf";

import { GatewayGroupSchema, ListenerProtocol } from "#sluice/model/v1/gateway_group_pb.ts";

import { GATEWAY_GROUP_DEFAULT } from "../model/objects.ts";
import { StoreError } from "./errors.ts";
import type { Retention } from "./retention.ts";
import { postgresBackend } from "./postgres.ts";
import { SecretBox } from "./secret-box.ts";
import { SqlStore } from "./sql-store.ts";
import { sqliteBackend } from "./sqlite-backend.ts";
import type { Store, StoreEvents } from "./store.ts";

/** Where the store is. */
export interface StoreLocation {
  /** Holds the embedded store. */
  readonly dataDir: string;
  /** A PostgreSQL database instead: postgres://user:password@host:5432/name. */
  readonly url?: string | undefined;
  /** Encrypt secrets in the database, the first one, or decrypt them. Default: none, and secrets are stored as they are. */
  readonly secretKeys?: readonly Buffer[] | undefined;
  /** How much of the past is kept. Default: `defaultRetention`. */
  readonly retention?: Retention | undefined;
}

/**
 * Opens the store, making it on the first start: then it holds the gateway group "default" with one listener.
 * @throws StoreError
 */
export async function openStore(
  { dataDir, url, secretKeys, retention }: StoreLocation,
  events: StoreEvents,
): Promise<Store> {
  if (url !== undefined && !/^postgres(ql)?:\/\//.test(url)) {
    throw new StoreError(
      "invalid_url",
      "the store's URL must start with postgres://; without a URL the store is in the data directory",
    );
  }
  const secrets = new SecretBox(secretKeys);
  const store = await SqlStore.open(
    url === undefined
      ? await sqliteBackend(dataDir, secrets)
      : await postgresBackend(url, secrets, (message) => events.warn(message)),
    events,
    retention,
  );
  try {
    await seed(store);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** What a new gateway starts with. A store that has ever been written to is left alone: its group may have been deleted on purpose. */
async function seed(store: Store): Promise<void> {
  if (store.state.revision > 0n) return;
  const value = create(GatewayGroupSchema, {
    name: GATEWAY_GROUP_DEFAULT,
    listeners: [{ name: "http", protocol: ListenerProtocol.HTTP, address: "127.0.0.1", port: 9080 }],
  });
  await store.write({ actor: "sluice" }, (state) => ({
    // Another replica may have been faster.
    writes: { puts: state.revision === 0n ? [{ kind: "gatewayGroup", value }] : [], deletes: [] },
    result: undefined,
  }));
}
