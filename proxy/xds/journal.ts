import { hash } from "node:crypto";
import { open, readFile, rm } from "node:fs/promises";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { DeltaDiscoveryResponseSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import type { StoredResource } from "./snapshot.ts";

const FORMAT = "sluice-proxy-journal 1";

/** Bytes before each record: its length (32 bits, the highest first) and the beginning of its SHA-256. */
const LENGTH_BYTES = 4;
const CHECK_BYTES = 16;

/** What became of a resource since the snapshot: what it is now, or that it is gone. */
export type JournalEntry = StoredResource | (Pick<StoredResource, "typeUrl" | "name"> & { readonly bytes: null });

/** The journal beside a snapshot. */
export const journalFile = (snapshotFile: string): string => `${snapshotFile}.journal`;

/**
 * What has changed since a snapshot was written, so that a change costs the disk what changed and not everything. The file is a line that names
 * the format and the snapshot by its checksum, and then records: length, checksum, and a DeltaDiscoveryResponse for each type that changed.
 */
export class Journal {
  readonly #file: string;
  #size: number;

  private constructor(file: string, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /** Begins the journal of a snapshot in place of any other. @param base the checksum of the snapshot's content */
  static async begin(snapshotFile: string, base: string): Promise<Journal> {
    const file = journalFile(snapshotFile);
    const head = `${FORMAT} ${base}\n`;
    // Another snapshot's is none; readable by its owner only, as the snapshot.
    await rm(file, { force: true });
    const handle = await open(file, "wx", 0o600);
    try {
      await handle.writeFile(head);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return new Journal(file, head.length);
  }

  /** Bytes in the file. */
  get size(): number {
    return this.#size;
  }

  /** Adds what has changed, each name once; it is on the disk when this is done. After a failure the file's end may be damaged: begin anew. */
  async append(entries: readonly JournalEntry[]): Promise<void> {
    const bytes = Buffer.concat(
      [...Map.groupBy(entries, ({ typeUrl }) => typeUrl)].map(([typeUrl, ofType]) => recordOf(typeUrl, ofType)),
    );
    const handle = await open(this.#file, "a");
    try {
      await handle.writeFile(bytes);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    this.#size += bytes.length;
  }
}

/**
 * What has changed since a snapshot, in order. Of a file that ends in the middle of a record, as after a crash, all before that counts; a journal
 * of another snapshot is none.
 * @param base the checksum of the snapshot's content
 */
export async function readJournal(snapshotFile: string, base: string): Promise<JournalEntry[]> {
  let content: Buffer;
  try {
    content = await readFile(journalFile(snapshotFile));
  } catch {
    // There is none, or it can't be read; the snapshot alone is a good configuration, too.
    return [];
  }
  const head = `${FORMAT} ${base}\n`;
  if (content.toString("latin1", 0, head.length) !== head) return [];
  const entries: JournalEntry[] = [];
  let at = head.length;
  while (at + LENGTH_BYTES + CHECK_BYTES <= content.length) {
    const start = at + LENGTH_BYTES + CHECK_BYTES;
    const body = content.subarray(start, start + content.readUInt32BE(at));
    if (!checkOf(body).equals(content.subarray(at + LENGTH_BYTES, start))) break;
    entries.push(...entriesOf(body));
    at = start + body.length;
  }
  return entries;
}

function recordOf(typeUrl: string, entries: readonly JournalEntry[]): Buffer {
  const response = create(DeltaDiscoveryResponseSchema, { typeUrl });
  for (const entry of entries) {
    if (entry.bytes === null) response.removedResources.push(entry.name);
    else {
      const { name, version, bytes: value } = entry;
      const { resources } = create(DeltaDiscoveryResponseSchema, {
        resources: [{ name, version, resource: { typeUrl, value } }],
      });
      response.resources.push(...resources);
    }
  }
  const body = toBinary(DeltaDiscoveryResponseSchema, response);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, checkOf(body), body]);
}

function entriesOf(body: Uint8Array): JournalEntry[] {
  const { typeUrl, resources, removedResources } = fromBinary(DeltaDiscoveryResponseSchema, body);
  return [
    ...resources.map(({ name, version, resource }) => ({
      ...{ typeUrl, name, version },
      // A copy, so that no resource keeps the whole file in memory.
      bytes: new Uint8Array(resource?.value ?? []),
    })),
    ...removedResources.map((name) => ({ typeUrl, name, bytes: null })),
  ];
}

const checkOf = (body: Uint8Array): Buffer => hash("sha256", body, "buffer").subarray(0, CHECK_BYTES);
