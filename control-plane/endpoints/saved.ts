import { readFileSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { type SavedSnapshot, SavedEndpointsSchema } from "#sluice/discovery/v1/saved_pb.ts";

/** Changes are gathered so long; and a write may take only this share of the time. */
const DELAY_MS_MIN = 1_000;
const SHARE = 0.02;
/** However slow the disk is: a control plane that is killed has lost no more. */
const DELAY_MS_MAX = 10_000;

/** The last good endpoints on disk, so that a control plane that starts while a registry is away still serves them. */
export class SavedFile {
  readonly #file: string;
  readonly #snapshots: () => readonly SavedSnapshot[];
  readonly #warn: (message: string) => void;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #delayMs = DELAY_MS_MIN;
  #dirty = false;
  #closed = false;

  /** @param snapshots what is to be saved now */
  constructor(dataDir: string, snapshots: () => readonly SavedSnapshot[], warn: (message: string) => void) {
    this.#file = join(dataDir, "endpoints.bin");
    this.#snapshots = snapshots;
    this.#warn = warn;
  }

  /** What an earlier run saved; nothing if there was none or it can't be read, which is warned of. */
  load(): readonly SavedSnapshot[] {
    try {
      return fromBinary(SavedEndpointsSchema, readFileSync(this.#file)).snapshots;
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
      const bytes = toBinary(SavedEndpointsSchema, create(SavedEndpointsSchema, { snapshots: [...this.#snapshots()] }));
      const handle = await open(draft, "w", 0o600);
      try {
        await handle.writeFile(bytes);
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
