import type { ObjectKey, StoredObject } from "../model/objects.ts";

/** What the store knows of an object besides the object itself. */
export interface ObjectMetadata {
  /** The store's revision at which the object was last written. */
  readonly revision: bigint;
  readonly createTime: Date;
  readonly updateTime: Date;
}

/** An object as it is stored. Objects are shared by all readers and never changed in place. */
export interface Entry {
  readonly object: StoredObject;
  readonly metadata: ObjectMetadata;
}

/** What one transaction did to one object: `before` alone is a deletion, `after` alone a creation, both an update. */
export interface StoredChange {
  readonly key: ObjectKey;
  readonly before: StoredObject | undefined;
  readonly after: StoredObject | undefined;
}

/** One write, whole. Revisions start at 1 and have no gaps. */
export interface Transaction {
  readonly revision: bigint;
  readonly time: Date;
  /** Who wrote, for the audit. */
  readonly actor: string;
  /** Never empty. */
  readonly changes: readonly StoredChange[];
}
