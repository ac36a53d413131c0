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

/** What a file was when it was read: one that is replaced (rename) is another. */
interface Version {
  readonly version: string;
  readonly services: FileServices;
}

/** A file of services (parse.ts says what it looks like), read again when it changes. */
export class FileSource implements Source {
  readonly #file: string;
  #read: Promise<Version> | undefined;
  #watcher: FSWatcher | undefined;
  readonly #wakers = new Set<() => void>();

  constructor(file: string) {
    this.#file = file;
  }

  async *watch(service: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
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
      await this.#change(signal);
    }
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
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  /** The file as it is, read once per version however many services are watched. @throws DiscoveryError */
  async #current(): Promise<Version> {
    const version = await versionOf(this.#file);
    const read = await this.#read?.catch(() => undefined);
    if (read?.version === version) return read;
    this.#read = load(this.#file, version);
    return await this.#read;
  }

  /** Waits until the file's folder says that something happened, or for a while. */
  async #change(signal: AbortSignal): Promise<void> {
    this.#watcher ??= this.#follow();
    const waiting = new AbortController();
    const wake = () => waiting.abort();
    this.#wakers.add(wake);
    await sleep(LOOK_MS, AbortSignal.any([signal, waiting.signal]));
    this.#wakers.delete(wake);
  }

  /** The folder rather than the file, which may be replaced. */
  #follow(): FSWatcher | undefined {
    try {
      const name = basename(this.#file);
      const watcher = watchFolder(dirname(this.#file), { persistent: false }, (_, changed) => {
        if (changed === null || changed === name) for (const wake of this.#wakers) wake();
      });
      watcher.on("error", () => watcher.close());
      return watcher;
    } catch {
      // Looking is enough, only later.
      return undefined;
    }
  }
}

async function versionOf(file: string): Promise<string> {
  try {
    const found = await stat(file);
    if (!found.isFile()) throw new DiscoveryError("bad_settings", `${file} is no file`);
    const { ino, size, mtimeMs } = found;
    if (size > FILE_BYTES_MAX) throw new DiscoveryError("bad_answer", `${file} has more than ${FILE_BYTES_MAX} bytes`);
    return `${ino}-${size}-${mtimeMs}`;
  } catch (error) {
    if (error instanceof DiscoveryError) throw error;
    throw unreadable(file, error);
  }
}

async function load(file: string, version: string): Promise<Version> {
  let content: string;
  try {
    content = await readFile(file, "utf8");
  } catch (error) {
    throw unreadable(file, error);
  }
  return { version, services: parseServices(file, content) };
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
