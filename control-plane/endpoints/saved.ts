import { readFileSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

import { SavedEndpointsSchema, SavedSnapshotSchema } from "#sluice/discovery/v1/saved_pb.ts";
import { type ServiceKey, ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { type Canonical, canonical } from "../../discovery/canonical.ts";
import { turn } from "../../discovery/turns.ts";

/** Changes are gathered so long; and a write may take only this share of the time. */
const DELAY_MS_MIN = 1_000;
const SHARE = 0.02;
/** However slow the disk is: a control plane that is killed has lost no more. */
const DELAY_MS_MAX = 10_000;

/** Written in one go. */
const CHUNK_BYTES = 256 * 1024;

/** The last good answer for one service of one registry. */
export interface Saved {
  readonly gatewayGroup: string;
  readonly registry: string;
  readonly service: ServiceKey;
  readonly served: Canonical;
}

/** The last good endpoints on disk, so that a control plane that starts while a registry is away still serves them. */
export class SavedFile {
  readonly #file: string;
  readonly #snapshots: () => Iterable<Saved>;
  readonly #warn: (message: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #delayMs = DELAY_MS_MIN;
  #dirty = false;
  #closed = false;

  /** @param snapshots what is to be saved now */
  constructor(dataDir: string, snapshots: () => Iterable<Saved>, warn: (message: string) => void) {
    this.#file = join(dataDir, "endpoints.bin");
    this.#snapshots = snapshots;
    this.#warn = warn;
  }

  /** What an earlier run saved; nothing if there was none or it can't be read, which is warned of. */
  load(): readonly Saved[] {
    try {
      return [...recordsIn(readFileSync(this.#file))];
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) {
        this.#warn(`${this.#file}: the endpoints of the last run can't be read: ${String(error)}`);
      }
      return [];
    }
  }

  /** Something changed: it will be saved soon. */
  touch(): void {
    this.#dirty = true;
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#writing = this.#write();
    }, this.#delayMs);
  }

  /** Saves what isn't yet. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#writing;
    if (this.#dirty) await this.#write();
  }

  async #write(): Promise<void> {
    this.#dirty = false;
    const started = performance.now();
    const draft = `${this.#file}.${process.pid}`;
    try {
      const handle = await open(draft, "w", 0o600);
      try {
        for await (const chunk of chunksOf(this.#snapshots())) await handle.writeFile(chunk);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(draft, this.#file);
    } catch (error) {
      this.#warn(`${this.#file}: the endpoints can't be saved: ${String(error)}`);
      await rm(draft, { force: true });
    }
    const restMs = (performance.now() - started) / SHARE;
    this.#delayMs = Math.min(DELAY_MS_MAX, Math.max(DELAY_MS_MIN, restMs));
    if (this.#dirty) this.touch();
  }
}

const { number: recordField } = SavedEndpointsSchema.field.snapshots;
const { number: snapshotField } = SavedSnapshotSchema.field.snapshot;

/** An encoded SavedEndpoints, piece by piece: others have their turn between them. */
async function* chunksOf(all: Iterable<Saved>): AsyncGenerator<Uint8Array> {
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

/** The records of an encoded SavedEndpoints, one at a time: as objects all of them would fill the memory. @throws if it is no such */
function* recordsIn(bytes: Uint8Array): Iterable<Saved> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field !== recordField) {
      reader.skip(wireType, field);
      continue;
    }
    const { gatewayGroup, registry, snapshot } = fromBinary(SavedSnapshotSchema, reader.bytes());
    if (snapshot?.service === undefined) continue;
    yield { gatewayGroup, registry, service: snapshot.service, served: canonical(snapshot) };
  }
}
