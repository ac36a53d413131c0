import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";

import { DeltaDiscoveryResponseSchema, type ResourceSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import { readJournal } from "./journal.ts";

/** A resource as it lies on disk. */
export interface StoredResource {
  readonly typeUrl: string;
  readonly name: string;
  readonly version: string;
  readonly bytes: Uint8Array;
}

/** What reading the file came to. `absent`: there is none, as before the first sync. `unusable`: it may not be used; the reason names it. */
export type Loaded =
  | { readonly kind: "loaded"; readonly resources: readonly StoredResource[] }
  | { readonly kind: "absent" }
  | { readonly kind: "unusable"; readonly reason: string };

/** Since 2 there are virtual hosts in it, which a proxy that knows only 1 would leave out. */
const FORMAT = "sluice-proxy-snapshot 2";
const FORMATS_READ: readonly string[] = [FORMAT, "sluice-proxy-snapshot 1"];

/**
 * The file is a line that names the format, a line of JSON ({@link Header}), and a DeltaDiscoveryResponse: Envoy's own container for
 * resources with names and versions.
 */
interface Header {
  /** The gateway group that the configuration is of. */
  readonly group: string;
  /** Of the DeltaDiscoveryResponse's bytes, in hex. */
  readonly sha256: string;
}

/** Resources encoded at a time: all of them in one go would be in memory several times. */
const PIECE_RESOURCES = 256;

/**
 * Writes the file so that at any moment either the old or the new one is whole, readable by its owner only (it may hold keys one day).
 * @returns the checksum of its content, by which the journal names it, and the content's size in bytes
 */
export async function saveSnapshot(
  file: string,
  group: string,
  resources: Iterable<StoredResource>,
): Promise<{ readonly sha256: string; readonly size: number }> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.new`;
  // A leftover of a crash may have another mode.
  await rm(temporary, { force: true });
  const handle = await open(temporary, "wx", 0o600);
  const checksum = createHash("sha256");
  let size = 0;
  let sha256: string;
  try {
    // Its checksum, which is always as long, takes this one's place once it is known.
    await handle.writeFile(headOf({ group, sha256: "0".repeat(64) }));
    for (const piece of piecesOf(resources)) {
      checksum.update(piece);
      size += piece.length;
      await handle.writeFile(piece);
    }
    sha256 = checksum.digest("hex");
    await handle.write(headOf({ group, sha256 }), 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  return { sha256, size };
}

const headOf = (header: Header) => `${FORMAT}\n${JSON.stringify(header)}\n`;

/** A DeltaDiscoveryResponse in pieces: encoded, a repeated field of which is in each, they are one message when they stand one behind the other. */
function* piecesOf(resources: Iterable<StoredResource>): Generator<Uint8Array> {
  let piece: MessageInitShape<typeof ResourceSchema>[] = [];
  const encode = () =>
    toBinary(DeltaDiscoveryResponseSchema, create(DeltaDiscoveryResponseSchema, { resources: piece }));
  for (const { typeUrl, name, version, bytes } of resources) {
    piece.push({ name, version, resource: { typeUrl, value: bytes } });
    if (piece.length < PIECE_RESOURCES) continue;
    yield encode();
    piece = [];
  }
  if (piece.length > 0) yield encode();
}

/** Reads the file and the journal beside it. What is damaged, of another format or of another gateway group is refused whole. */
export async function loadSnapshot(file: string, group: string): Promise<Loaded> {
  let content: Buffer;
  try {
    content = await readFile(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return { kind: "absent" };
    return { kind: "unusable", reason: `${file} cannot be read: ${message}` };
  }
  const unusable = (what: string): Loaded => ({ kind: "unusable", reason: `${file} ${what}` });
  const formatEnd = content.indexOf("\n");
  const headerEnd = content.indexOf("\n", formatEnd + 1);
  if (formatEnd < 0 || headerEnd < 0) return unusable("is not a snapshot of a proxy's configuration, or is cut short");
  const format = content.toString("latin1", 0, Math.min(formatEnd, 64));
  if (!FORMATS_READ.includes(format)) {
    return unusable(`has the format ${JSON.stringify(format)}; this version reads "${FORMATS_READ.join('" and "')}"`);
  }
  try {
    const header = JSON.parse(content.toString("utf8", formatEnd + 1, headerEnd)) as Partial<Header>;
    const body = content.subarray(headerEnd + 1);
    if (header.sha256 !== sha256(body)) return unusable("is damaged: its checksum does not fit its content");
    if (header.group !== group) {
      return unusable(`is of the gateway group ${JSON.stringify(header.group)}, not of ${JSON.stringify(group)}`);
    }
    const { resources } = fromBinary(DeltaDiscoveryResponseSchema, body);
    const loaded = new Map<string, StoredResource>();
    for (const { name, version, resource } of resources) {
      const typeUrl = resource?.typeUrl ?? "";
      // A copy, so that no resource keeps the whole file in memory.
      loaded.set(`${typeUrl} ${name}`, { typeUrl, name, version, bytes: new Uint8Array(resource?.value ?? []) });
    }
    for (const entry of await readJournal(file, header.sha256)) {
      const key = `${entry.typeUrl} ${entry.name}`;
      if (entry.bytes === null) loaded.delete(key);
      else loaded.set(key, entry);
    }
    return { kind: "loaded", resources: [...loaded.values()] };
  } catch (error) {
    return unusable(`is damaged: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/**
 * Between two writes; what takes long to write is written more rarely, but never so rarely that a crash would cost much: a disk that is slow for a
 * moment says nothing about the next write.
 */
const PAUSE_MS_MIN = 1000;
const PAUSE_MS_MAX = 10_000;
const PAUSE_PER_WRITE = 20;

/**
 * Keeps the file up to date: writes soon after a change, at most once in a second, the last state always. What could not be written is tried
 * again; it is told once, however often it is met in a row.
 */
export class SnapshotWriter {
  readonly #write: () => Promise<void>;
  readonly #failed: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #dirty = false;
  /** Another process has the file. */
  #isHeld = false;
  /** What was told of the last write; empty if it succeeded. */
  #told = "";

  /** `write` saves what is current when it is called. */
  constructor(write: () => Promise<void>, failed: (error: unknown) => void) {
    this.#write = write;
    this.#failed = failed;
  }

  /** Something changed. */
  changed(): void {
    this.#dirty = true;
    if (this.#timer === undefined && this.#writing === undefined && !this.#isHeld) this.#schedule(PAUSE_MS_MIN);
  }

  /** Writes what is not yet written, and goes on. */
  async write(): Promise<void> {
    await this.flush();
    if (this.#dirty) this.changed();
  }

  /** Writes what is not yet written; afterwards nothing is under way. */
  async flush(): Promise<void> {
    await this.#idle();
    if (!this.#dirty || this.#isHeld) return;
    this.#begin();
    await this.#idle();
  }

  /** Leaves the file to another process: of two that write, the one that knows less might be the last. */
  async hold(): Promise<void> {
    this.#isHeld = true;
    await this.#idle();
  }

  /** The file is this one's from now on. */
  release(): void {
    this.#isHeld = false;
    if (this.#dirty) this.changed();
  }

  /** Resolves when nothing is being written, nor will be before something changes. */
  async #idle(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#writing;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#begin();
    }, ms);
    this.#timer.unref();
  }

  #begin(): void {
    const startedAt = performance.now();
    this.#writing = this.#run().finally(() => {
      this.#writing = undefined;
      if (!this.#dirty || this.#isHeld) return;
      const pauseMs = this.#told === "" ? PAUSE_PER_WRITE * (performance.now() - startedAt) : PAUSE_MS_MAX;
      this.#schedule(Math.min(Math.max(PAUSE_MS_MIN, pauseMs), PAUSE_MS_MAX));
    });
  }

  async #run(): Promise<void> {
    this.#dirty = false;
    try {
      await this.#write();
      this.#told = "";
    } catch (error) {
      // What is accepted may be the last change for weeks.
      this.#dirty = true;
      const text = String(error);
      if (text !== this.#told) this.#failed(error);
      this.#told = text;
    }
  }
}
