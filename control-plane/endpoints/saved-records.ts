import { crc32 } from "node:zlib";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

import { SavedEndpointsSchema, SavedSnapshotSchema } from "#sluice/discovery/v1/saved_pb.ts";
import { type ServiceKey, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { type Canonical, canonical } from "../../discovery/canonical.ts";
import { turn } from "../../discovery/turns.ts";

/** Written in one go. */
const CHUNK_BYTES = 256 * 1024;

/** Files that say so have a checksum behind every record. */
const FORMAT = 2;

/** The last good answer for one service of one registry. */
export interface Saved {
  readonly gatewayGroup: string;
  readonly registry: string;
  readonly service: ServiceKey;
  readonly served: Canonical;
}

const { number: formatField } = SavedEndpointsSchema.field.format;
const { number: recordField } = SavedEndpointsSchema.field.snapshots;
const { number: checksumField } = SavedEndpointsSchema.field.checksums;
const { number: snapshotField } = SavedSnapshotSchema.field.snapshot;

/** What a file begins with. */
export const encodeFormat = (): Uint8Array =>
  toBinary(SavedEndpointsSchema, create(SavedEndpointsSchema, { format: FORMAT }));

/** Records of a SavedEndpoints, encoded piece by piece: others have their turn between them. */
export async function* encodeRecords(all: Iterable<Saved>): AsyncGenerator<Uint8Array> {
  // One for all of them, and nothing is put together before it is in there: each time that would be as many bytes for the garbage.
  const writer = new BinaryWriter();
  let bytes = 0;
  for (const saved of all) {
    await turn();
    const parts = encodeParts(saved);
    writer.tag(recordField, WireType.LengthDelimited).fork();
    for (const part of parts) writer.raw(part);
    const checksum = parts.reduce((sum, part) => crc32(part, sum), 0);
    writer.join().tag(checksumField, WireType.Bit32).fixed32(checksum);
    bytes += parts.reduce((sum, { length }) => sum + length, 0);
    if (bytes < CHUNK_BYTES) continue;
    yield writer.finish();
    bytes = 0;
  }
  yield writer.finish();
}

/** The bytes of a SavedSnapshot, which they are one after the other. */
function encodeParts({ gatewayGroup, registry, service, served }: Saved): readonly Uint8Array[] {
  const owner = toBinary(SavedSnapshotSchema, create(SavedSnapshotSchema, { gatewayGroup, registry }));
  const key = toBinary(ServiceSnapshotSchema, create(ServiceSnapshotSchema, { service }));
  const [head, content] = served.encode();
  const length = head.length + content.length + key.length;
  const snapshot = new BinaryWriter().tag(snapshotField, WireType.LengthDelimited).uint32(length).finish();
  // The same message in parts, one after the other, is the whole of it.
  return [owner, snapshot, head, content, key];
}

/** What was read of an encoded SavedEndpoints. */
export interface ReadRecords {
  readonly records: readonly Saved[];
  /** False in a file of an earlier version. */
  readonly isChecked: boolean;
  /** Records that are not what was written: they are left out. */
  readonly damaged: number;
  /** Why no more could be read; undefined: it was read to its end. */
  readonly problem: string | undefined;
}

/**
 * Reads records one at a time, since as objects all of them would fill the memory, up to the first whose length can't be right. Where there
 * are checksums, a record counts only together with its own.
 */
export function decodeRecords(bytes: Uint8Array): ReadRecords {
  const records: Saved[] = [];
  const reader = new BinaryReader(bytes);
  let damaged = 0;
  let isChecked = false;
  try {
    isChecked = readFormat(reader);
    while (reader.pos < reader.len) {
      const record = readRecord(reader, isChecked);
      if (record === "damaged") damaged++;
      else if (record !== undefined) records.push(record);
    }
  } catch (error) {
    return { records, isChecked, damaged, problem: String(error) };
  }
  return { records, isChecked, damaged, problem: undefined };
}

/** @returns whether records have checksums @throws Error if it is a format that this version doesn't know */
function readFormat(reader: BinaryReader): boolean {
  if (reader.len === 0) return true;
  const start = reader.pos;
  const [field, wireType] = reader.tag();
  if (field !== formatField || wireType !== WireType.Varint) {
    reader.pos = start;
    return false;
  }
  const format = reader.uint32();
  if (format !== FORMAT) throw new Error(`format ${format} isn't known to this version`);
  return true;
}

/** @returns undefined for what was no whole record @throws Error if it can't be told where it ends */
function readRecord(reader: BinaryReader, isChecked: boolean): Saved | "damaged" | undefined {
  expectField(reader, recordField, WireType.LengthDelimited);
  const bytes = reader.bytes();
  if (isChecked) {
    expectField(reader, checksumField, WireType.Bit32);
    if (reader.fixed32() !== crc32(bytes)) return "damaged";
  }
  const { gatewayGroup, registry, snapshot } = fromBinary(SavedSnapshotSchema, bytes);
  if (snapshot?.service === undefined) return undefined;
  return { gatewayGroup, registry, service: snapshot.service, served: canonical(snapshot) };
}

/** @throws Error if something else follows: then it isn't known either where the next record begins */
function expectField(reader: BinaryReader, expected: number, expectedType: WireType): void {
  const [field, wireType] = reader.tag();
  if (field === expected && wireType === expectedType) return;
  throw new Error(`field ${field} where field ${expected} has its place`);
}
