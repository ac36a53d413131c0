import { type FSWatcher, watch as watchFolder } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";

import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import {
  type ServiceKey,
  ServiceKeySchema,
  type ServiceSnapshot,
  ServiceSnapshotSchema,
} from "#sluice/discovery/v1/snapshot_pb.ts";

import { sleep } from "../backoff.ts";
import { DiscoveryError, LIST_MAX, type ListedService, type RegistryIdentity, type Source } from "../source.ts";
import { type FileServices, parseServices } from "./parse.ts";

/** Not every file system tells of changes: the file is looked at so often anyway. */
const LOOK_MS = 1_000;
const FILE_BYTES_MAX = 64 * 1024 * 1024;

/** A file that is written in place is read once it has been the same for so long, since half of it may be valid too. */
const SETTLE_MS = 250;
/** It is looked at so often for that, and read as it is then. */
const SETTLE_LOOKS_MAX = 40;

/** What tells versions of a file apart. */
interface Version {
  readonly text: string;
  /** One that is replaced as a whole (rename) is another. */
  readonly inode: number;
  /** When it was written, in ms since 1970. */
  readonly writtenMs: number;
}

/** A version of the file, and what is in it. */
interface Read extends Version {
  readonly outcome: { readonly ok: true; readonly services: FileServices } | { readonly ok: false; error: unknown };
}

/** A file of services (parse.ts says what it looks like), read again when it changes. */
export class FileSource implements Source {
  readonly #file: string;
  /** Also one that is broken, which is not read again for each of thousands of services. */
  #read: Read | undefined;
  #reading: Promise<Read> | undefined;
  #watcher: FSWatcher | undefined;
  /** Of watches that wait for another version than the one that they saw. */
  readonly #wakers = new Set<() => void>();
  /** The version that was there when somebody last looked; "" if none was. */
  #seen = "";
  #looking: NodeJS.Timeout | undefined;
  #mended: () => void = () => {};
  #isTicking = false;
  readonly #closed = new AbortController();

  constructor(file: string) {
    this.#file = file;
  }

  async *watch(service: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    this.#watcher ??= this.#follow();
    // Whoever waits learns of a file that is gone when it asks for it.
    this.#looking ??= setInterval(() => void this.#tick(), LOOK_MS).unref();
    let seen: string | undefined;
    while (!signal.aborted) {
      const { version, services } = await this.#current();
      if (version !== seen) {
        seen = version;
        const endpoints = services.get(service.service);
        yield create(ServiceSnapshotSchema, {
          service,
          endpoints: [...(endpoints ?? [])],
          revision: version,
          observeTime: timestampFromMs(Date.now()),
          unknownService: endpoints === undefined,
        });
      }
      await this.#change(version, signal);
    }
  }

  onMended(tell: () => void): void {
    this.#mended = tell;
  }

  async list(): Promise<readonly ListedService[]> {
    const { services } = await this.#current();
    const names = [...services.keys()].sort().slice(0, LIST_MAX);
    return names.map((service) => ({ key: create(ServiceKeySchema, { service }), tags: [], ports: [] }));
  }

  async probe(): Promise<RegistryIdentity> {
    await this.#current();
    return { clusterIdentity: "", version: "file" };
  }

  async close(): Promise<void> {
    this.#closed.abort();
    clearInterval(this.#looking);
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  /** The file as it is, read once per version however many services are watched. @throws DiscoveryError */
  async #current(): Promise<{ readonly version: string; readonly services: FileServices }> {
    const version = await this.#look();
    if (this.#read?.text !== version.text) {
      this.#reading ??= this.#load(version).finally(() => (this.#reading = undefined));
      this.#read = await this.#reading;
    }
    const { text, outcome } = this.#read;
    if (!outcome.ok) throw outcome.error;
    return { version: text, services: outcome.services };
  }

  /** Reads the file once nobody writes in it any more. */
  async #load(found: Version): Promise<Read> {
    let version = found;
    // What was put in its place by a rename is complete; so is, most likely, what was there before us.
    const mayGrow = () =>
      this.#read === undefined
        ? Math.abs(Date.now() - version.writtenMs) < SETTLE_MS
        : this.#read.inode === version.inode;
    const { signal } = this.#closed;
    for (let looks = 0; mayGrow() && looks < SETTLE_LOOKS_MAX && !signal.aborted; looks++) {
      const before = version.text;
      await sleep(SETTLE_MS, signal);
      version = await versionOf(this.#file);
      if (version.text === before) break;
    }
    return { ...version, outcome: await outcomeOf(this.#file) };
  }

  /** The version that is there now. @throws DiscoveryError */
  async #look(): Promise<Version> {
    const version = await versionOf(this.#file).catch((error: unknown) => {
      this.#see("");
      throw error;
    });
    this.#see(version.text);
    return version;
  }

  /** One look at a time: a file system may hang. */
  async #tick(): Promise<void> {
    if (this.#isTicking) return;
    this.#isTicking = true;
    await this.#look().catch(() => undefined);
    this.#isTicking = false;
  }

  #see(version: string): void {
    if (this.#seen === version) return;
    this.#seen = version;
    for (const wake of this.#wakers) wake();
    this.#mended();
  }

  /** Waits until another version than this one was seen: one look for all who wait. */
  async #change(version: string, signal: AbortSignal): Promise<void> {
    if (this.#seen !== version || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        this.#wakers.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#wakers.add(wake);
      signal.addEventListener("abort", wake);
    });
  }

  /** The folder rather than the file, which may be replaced. */
  #follow(): FSWatcher | undefined {
    try {
      const name = basename(this.#file);
      const watcher = watchFolder(dirname(this.#file), { persistent: false }, (_, changed) => {
        if (changed === null || changed === name) void this.#look().catch(() => undefined);
      });
      watcher.on("error", () => watcher.close());
      return watcher;
    } catch {
      // Looking is enough, only later.
      return undefined;
    }
  }
}

async function versionOf(file: string): Promise<Version> {
  try {
    const found = await stat(file);
    if (!found.isFile()) throw new DiscoveryError("bad_settings", `${file} is no file`);
    // The mode of a file that could not be read is part of its ctime.
    const { ino, size, mtimeMs, ctimeMs } = found;
    if (size > FILE_BYTES_MAX) throw new DiscoveryError("bad_answer", `${file} has more than ${FILE_BYTES_MAX} bytes`);
    return { text: `${ino}-${size}-${mtimeMs}-${ctimeMs}`, inode: ino, writtenMs: mtimeMs };
  } catch (error) {
    if (error instanceof DiscoveryError) throw error;
    throw unreadable(file, error);
  }
}

async function outcomeOf(file: string): Promise<Read["outcome"]> {
  try {
    return { ok: true, services: parseServices(file, await readFile(file, "utf8")) };
  } catch (error) {
    return { ok: false, error: error instanceof DiscoveryError ? error : unreadable(file, error) };
  }
}

/** In words that say which file, which not all of Node's do. */
function unreadable(file: string, error: unknown): DiscoveryError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const words: Readonly<Record<string, string>> = {
    ENOENT: "is not there",
    EACCES: "may not be read by the control plane",
  };
  const text = words[code] ?? `can't be read: ${error instanceof Error ? error.message : String(error)}`;
  return new DiscoveryError("bad_settings", `${file} ${text}`, { cause: error });
}
