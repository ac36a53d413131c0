import { constants, readdirSync, readFileSync, rmSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { keyText } from "../../discovery/source.ts";
import { decodeRecords, encodeFormat, encodeRecords, type Saved } from "./saved-records.ts";

/** Changes are gathered so long; and a write may take only this share of the time. */
const DELAY_MS_MIN = 1_000;
const SHARE = 0.02;
/** However slow the disk is: a control plane that is killed has lost no more. One that takes nothing is tried so often. */
const DELAY_MS_MAX = 10_000;

/** What was added to the file may be as long as the rest, or this long, before the file is written anew. */
const ADDED_BYTES_MAX = 1024 * 1024;

/**
 * The last good endpoints on disk, so that a control plane that starts while a registry is away still serves them. What changes is added
 * to the end of the file, where it goes before what is in front of it; now and then the file is written anew.
 */
export class SavedFile {
  readonly #file: string;
  readonly #all: () => Iterable<Saved>;
  readonly #warn: (message: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #delayMs = DELAY_MS_MIN;
  /** What changed since the last write, by what it is of. */
  #changed = new Map<string, Saved>();
  /** Nothing can be added: the file is of an earlier run, has what is gone, or may end in the middle of a record. */
  #stale = true;
  #dirty = false;
  #closed = false;
  #bytes = 0;
  #addedBytes = 0;

  /** @param all what is to be in the file now */
  constructor(dataDir: string, all: () => Iterable<Saved>, warn: (message: string) => void) {
    this.#file = join(dataDir, "endpoints.bin");
    this.#all = all;
    this.#warn = warn;
  }

  /** What an earlier run saved; nothing if there was none. What can't be read, or isn't what was written, is warned of. */
  load(): readonly Saved[] {
    this.#removeDrafts();
    try {
      const { records, isChecked, damaged, problem } = decodeRecords(readFileSync(this.#file));
      if (!isChecked && records.length > 0) {
        this.#warn(`${this.#file}: is of an earlier version, without checksums; it will be written anew`);
      }
      if (damaged > 0) {
        this.#warn(`${this.#file}: ${damaged} records were damaged (wrong checksum), and their endpoints are left out`);
      }
      if (problem !== undefined) {
        this.#warn(`${this.#file}: what follows the first ${records.length} services can't be read: ${problem}`);
      }
      return [...new Map(records.map((saved) => [keyOf(saved), saved])).values()];
    } catch (error) {
      if (!isMissing(error)) {
        this.#warn(`${this.#file}: the endpoints of the last run can't be read: ${String(error)}`);
      }
      return [];
    }
  }

  /** What programs that were killed left behind in the middle of a write. */
  #removeDrafts(): void {
    try {
      const [folder, own] = [dirname(this.#file), basename(this.#file)];
      for (const name of readdirSync(folder)) {
        const [, file, pid] = /^(.*)\.(\d+)$/.exec(name) ?? [];
        if (file === own && !isRunning(Number(pid))) rmSync(join(folder, name), { force: true });
      }
    } catch {
      // They take room, and nothing else.
    }
  }

  /** This changed: it will be saved soon. */
  put(saved: Saved): void {
    this.#changed.set(keyOf(saved), saved);
    this.#touch();
  }

  /** Something is to be saved no longer: the file will be written anew soon. */
  rewrite(): void {
    this.#stale = true;
    this.#touch();
  }

  /** Saves what isn't yet. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#writing;
    if (this.#dirty) await this.#write();
  }

  #touch(): void {
    this.#dirty = true;
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#writing = this.#writing.then(() => this.#write());
    }, this.#delayMs);
  }

  async #write(): Promise<void> {
    this.#dirty = false;
    const started = performance.now();
    const changed = this.#changed;
    this.#changed = new Map();
    try {
      const isLong = this.#addedBytes > Math.max(ADDED_BYTES_MAX, this.#bytes);
      if (this.#stale || isLong || !(await this.#add(changed.values()))) await this.#writeAnew();
      const restMs = (performance.now() - started) / SHARE;
      this.#delayMs = Math.min(DELAY_MS_MAX, Math.max(DELAY_MS_MIN, restMs));
    } catch (error) {
      this.#warn(`${this.#file}: the endpoints can't be saved: ${String(error)}`);
      // All of it is tried again.
      this.#stale = true;
      this.#dirty = true;
      this.#delayMs = DELAY_MS_MAX;
    }
    if (this.#dirty) this.#touch();
  }

  /** @returns false if there is no such file any more */
  async #add(changed: Iterable<Saved>): Promise<boolean> {
    let handle: FileHandle;
    try {
      handle = await open(this.#file, constants.O_WRONLY | constants.O_APPEND);
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
    this.#addedBytes += await writeTo(handle, changed);
    return true;
  }

  async #writeAnew(): Promise<void> {
    // What comes to be gone meanwhile is for the next time.
    this.#stale = false;
    const draft = `${this.#file}.${process.pid}`;
    try {
      this.#bytes = await writeTo(await open(draft, "w", 0o600), this.#all(), encodeFormat());
      await rename(draft, this.#file);
      this.#addedBytes = 0;
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }
}

/**
 * Writes records, has them on the disk, and closes the file. @returns how many bytes there were
 * @param before goes in front of them
 */
async function writeTo(handle: FileHandle, records: Iterable<Saved>, before?: Uint8Array): Promise<number> {
  let bytes = before?.length ?? 0;
  try {
    if (before !== undefined) await handle.writeFile(before);
    for await (const chunk of encodeRecords(records)) {
      await handle.writeFile(chunk);
      bytes += chunk.length;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return bytes;
}

const keyOf = ({ gatewayGroup, registry, service }: Saved) => `${gatewayGroup}/${registry} ${keyText(service)}`;

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Somebody else's is one that runs.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

const isMissing = (error: unknown) => error instanceof Error && "code" in error && error.code === "ENOENT";
