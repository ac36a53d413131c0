import type { ColumnType } from "kysely";

/** Both drivers hand back numbers for 64-bit columns; revisions and milliseconds stay far below 2^53. */
type Integer = ColumnType<number, number, number>;

/** One row per object, as it is now. */
export interface ObjectsTable {
  kind: string;
  gateway_group: string;
  name: string;
  revision: Integer;
  /** Milliseconds since 1970. */
  create_time: Integer;
  /** Milliseconds since 1970. */
  update_time: Integer;
  /** The object's protobuf message. */
  bytes: Uint8Array;
}

/** One row per object that a transaction changed; the audit, and what watchers and replicas follow. */
export interface ChangesTable {
  revision: Integer;
  /** Position in the transaction. */
  seq: Integer;
  /** Milliseconds since 1970; the same in all rows of a transaction. */
  time: Integer;
  actor: string;
  kind: string;
  gateway_group: string;
  name: string;
  /** Null for a created object. */
  before: Uint8Array | null;
  /** Null for a deleted object. */
  after: Uint8Array | null;
}

/** One row. */
export interface MetaTable {
  id: Integer;
  /** Of the newest transaction. */
  revision: Integer;
  /** Made with the store; tells two databases apart. */
  store_id: string;
}

/** Instances that programs reported (sluice.discovery.v1.LeaseService). */
export interface LeasesTable {
  /** leaseKey() of discovery/leases. */
  key: string;
  version: Integer;
  /** Milliseconds. */
  ttl: Integer;
  /** Milliseconds since 1970. */
  renew_time: Integer;
  /** A SavedLease. */
  bytes: Uint8Array;
}

/** Which replica watches which registry. */
export interface WatchersTable {
  registry: string;
  holder: string;
  /** Milliseconds since 1970. */
  expire_time: Integer;
  /** What the holder says of the registry (endpoints/shared.ts). */
  info: string;
}

/** What registries said last of each watched service, in chunks, for replicas that don't watch them. */
export interface EndpointsTable {
  registry: string;
  service: string;
  chunk: Integer;
  version: Integer;
  bytes: Uint8Array;
}

/** The control planes that run on this store, each for as long as it says so. */
export interface ReplicasTable {
  replica: string;
  /** Milliseconds since 1970. */
  expire_time: Integer;
}

/** What replicas ask one another, and answer, in chunks. */
export interface PeerMessagesTable {
  /** Of the question; its answers have the same. */
  id: string;
  /** A replica: who asks in the question, who answers in an answer. */
  sender: string;
  chunk: Integer;
  /** What is asked; empty in answers. */
  method: string;
  /** Milliseconds since 1970. */
  time: Integer;
  /** Null: it has nothing to say. */
  bytes: Uint8Array | null;
}

/** How a gateway group's newest revisions fare that go to one data plane first. */
export interface TrialsTable {
  gateway_group: string;
  /** A TrialState. */
  state: string;
  /** The replica whose data plane tries it. */
  holder: string;
  node: string;
  first_revision: Integer;
  last_revision: Integer;
  /** Why it is held back; empty if it isn't. */
  why: string;
}

/** What data planes have in place of what a revision that is held would give them. */
export interface HeldTable {
  gateway_group: string;
  type_url: string;
  name: string;
  /** The encoded resource; null: they have none of that name. */
  bytes: Uint8Array | null;
}

/** The schema's version: one row per migration that was made. */
export interface MigrationsTable {
  version: Integer;
  /** Milliseconds since 1970. */
  time: Integer;
}

/** All tables, for Kysely. */
export interface Tables {
  sluice_objects: ObjectsTable;
  sluice_changes: ChangesTable;
  sluice_leases: LeasesTable;
  sluice_watchers: WatchersTable;
  sluice_endpoints: EndpointsTable;
  sluice_replicas: ReplicasTable;
  sluice_peer_messages: PeerMessagesTable;
  sluice_trials: TrialsTable;
  sluice_held: HeldTable;
  sluice_meta: MetaTable;
  sluice_migrations: MigrationsTable;
}
