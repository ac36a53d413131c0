import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

import { SavedEndpointsSchema, SavedSnapshotSchema } from "#sluice/discovery/v1/saved_pb.ts";
import { type ServiceKey, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { type Canonical, canonical } from "../../discovery/canonical.ts";
import { turn } from "../../discovery/turns.ts";

/** Written in one go. */
const CHUNK_BYTES = 256 * 1024;

/** The last good answer for one service of one registry. */
export interface Saved {
  readonly gatewayGroup: string;
  readonly registry: string;
  readonly service: ServiceKey;
  readonly served: Canonical;
}

const { number: recordField } = SavedEndpointsSchema.field.snapshots;
const { number: snapshotField } = SavedSnapshotSchema.field.snapshot;

/** A SavedEndpoints, encoded piece by piece: others have their turn between them. */
export async function* encodeRecords(all: Iterable<Saved>): AsyncGenerator<Uint8Array> {
  // One for all of them, and nothing is put together before it is in there: each time that would be as many bytes for the garbage.
  const writer = new BinaryWriter();
  let bytes = 0;
  for (const { gatewayGroup, registry, service, served } of all) {
    await turn();
    const owner = toBinary(SavedSnapshotSchema, create(SavedSnapshotSchema, { gatewayGroup, registry }));
    const key = toBinary(ServiceSnapshotSchema, create(ServiceSnapshotSchema, { service }));
    const [head, content] = served.encode();
    writer.tag(recordField, WireType.LengthDelimited).fork().raw(owner);
    // The same message in parts, one after the other, is the whole of it.
    writer.tag(snapshotField, WireType.LengthDelimited).fork().raw(head).raw(content).raw(key).join().join();
    bytes += content.length;
    if (bytes < CHUNK_BYTES) continue;
    yield writer.finish();
    bytes = 0;
  }
  yield writer.finish();
}

/** What was read of an encoded SavedEndpoints, and why no more; undefined: it was read to its end. */
export interface ReadRecords {
  readonly records: readonly Saved[];
  readonly problem: string | undefined;
}

/** Reads records one at a time, since as objects all of them would fill the memory, up to the first that can't be read. */
export function decodeRecords(bytes: Uint8Array): ReadRecords {
  const records: Saved[] = [];
  const reader = new BinaryReader(bytes);
  try {
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field !== recordField) {
        reader.skip(wireType, field);
        continue;
      }
      const { gatewayGroup, registry, snapshot } = fromBinary(SavedSnapshotSchema, reader.bytes());
      if (snapshot?.service === undefined) continue;
      records.push({ gatewayGroup, registry, service: snapshot.service, served: canonical(snapshot) });
    }
  } catch (error) {
    return { records, problem: String(error) };
  }
  return { records, problem: undefined };
}
