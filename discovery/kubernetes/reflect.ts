import { DiscoveryError } from "../source.ts";
import { turn } from "../turns.ts";

import { type KubernetesApi, type Status, StatusError } from "./api.ts";

/** The metadata that a list and each of its objects have. */
interface ListMeta {
  readonly resourceVersion?: string;
  readonly continue?: string;
}

/** The metadata of an object. */
export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Any object. */
export interface KubernetesObject {
  readonly metadata: ObjectMeta;
}

interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: T & KubernetesObject & Status;
}

/** Takes what a list and a watch say. */
export interface Sink<T, Kept> {
  /** What is kept of an object: a list is gathered in this form, since whole objects would fill the memory. */
  keep(object: T): Kept;
  /** All objects that there are now, by "namespace/name": what is not among them is gone. */
  replace(objects: ReadonlyMap<string, Kept>): Promise<void>;
  /** One object is there, as it is now. */
  set(name: string, object: Kept): void;
  /** One object is gone. */
  delete(name: string): void;
}

/** Who watches what, and how patiently. */
export interface Reflection<T, Kept> {
  readonly api: KubernetesApi;
  /** Path of the collection, such as `/api/v1/services`. */
  readonly path: string;
  readonly sink: Sink<T, Kept>;
  readonly signal: AbortSignal;
  readonly times?: ReflectTimes;
}

/** Time limits of a watch. */
export interface ReflectTimes {
  /** The server ends a watch after this long, and up to half as long again so that not all end together. */
  readonly watchMs: number;
  /** A server that sends bookmarks sends one a minute; without any for this long it hangs. */
  readonly bookmarkQuietMs: number;
  /** A watch that ends sooner than this without an event has not worked. */
  readonly watchMsMin: number;
}

const reflectTimes: ReflectTimes = { watchMs: 300_000, bookmarkQuietMs: 180_000, watchMsMin: 1_000 };

/** Objects in a page of a list: a few megabytes, if all are as large as they come. */
const LIST_LIMIT = 50;
/** Objects of one kind in one cluster. */
const OBJECTS_MAX = 1_000_000;
/** A list that expired while it was being read is begun anew this often. */
const LIST_ATTEMPTS = 3;
const GONE = 410;

/**
 * Keeps `sink` equal to a collection of the API server: lists it, watches it, and lists it again when the server no longer knows where we
 * were (410 Gone), in which case the sink goes from the old state to the new one at once. Ends only by `signal` or by throwing.
 * @throws {DiscoveryError} whatever the server does that is not the normal course of a watch.
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export async function reflect<T extends KubernetesObject, Kept>(reflection: Reflection<T, Kept>): Promise<never> {
  const { api, signal, times = reflectTimes } = reflection;
  for (;;) {
    // A list, then watches from where it and each other ended; 410 leads back here.
    let version = api.streamsLists ? await watch(reflection, times, undefined) : "";
    let watches = version === "" ? 0 : 1;
    if (version === "") version = await listPages(reflection);
    while (version !== "") {
      signal.throwIfAborted();
      const from = version;
      version = await watch(reflection, times, from);
      // A version that is gone as soon as it was given would have us list without end.
      if (version === "" && watches === 0) {
        throw new DiscoveryError(
          "bad_answer",
          `${reflection.path}: the version of a fresh list, ${from}, is gone already`,
        );
      }
      watches++;
    }
  }
}

/** Lists page by page; the version that the list shows. */
async function listPages<T extends KubernetesObject, Kept>(reflection: Reflection<T, Kept>): Promise<string> {
  const { api, path, sink, signal } = reflection;
  for (let attempt = 1; ; attempt++) {
    const objects = new Map<string, Kept>();
    let next = "";
    try {
      do {
        const query = new URLSearchParams({ limit: String(LIST_LIMIT), ...(next ? { continue: next } : {}) });
        const page = await api.get<{ metadata?: ListMeta; items?: T[] | null }>(`${path}?${query.toString()}`, signal);
        const { resourceVersion, continue: more = "" } = page.metadata ?? {};
        if (!resourceVersion) throw new DiscoveryError("bad_answer", `${path}: a list without a resourceVersion`);
        for (const item of page.items ?? []) {
          await turn();
          objects.set(nameOf(item), sink.keep(item));
        }
        if (objects.size > OBJECTS_MAX) throw new DiscoveryError("bad_answer", `${path}: over ${OBJECTS_MAX} objects`);
        if (more === "") {
          await sink.replace(objects);
          return resourceVersion;
        }
        next = more;
      } while (next !== "");
    } catch (error) {
      // The snapshot that the pages are cut from was compacted away meanwhile.
      const expired = error instanceof StatusError && error.code === GONE;
      if (!expired || attempt === LIST_ATTEMPTS) throw error;
    }
  }
}

/**
 * One watch, from a version on; or, from undefined, of everything that is there and what comes after (a streaming list, KEP-3157).
 * The version to go on from when the server ends it, or "" to list.
 */
async function watch<T extends KubernetesObject, Kept>(
  { api, path, sink, signal }: Reflection<T, Kept>,
  times: ReflectTimes,
  from: string | undefined,
): Promise<string> {
  const watchMs = Math.round(times.watchMs * (1 + Math.random() / 2));
  const query = new URLSearchParams({
    watch: "1",
    allowWatchBookmarks: "true",
    timeoutSeconds: String(Math.ceil(watchMs / 1000)),
    ...(from === undefined
      ? { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan", resourceVersion: "" }
      : { resourceVersion: from }),
  });
  // It gathers a streaming list until the bookmark that ends it, so that the sink never sees half of it.
  let initial: Map<string, Kept> | undefined = from === undefined ? new Map() : undefined;
  let version = from ?? "";
  let events = 0;
  const began = performance.now();
  const stall = new AbortController();
  const abort = AbortSignal.any([signal, stall.signal]);
  const hangs = (ms: number) =>
    stall.abort(new DiscoveryError("unreachable", `${path}: nothing from the watch for ${Math.round(ms / 1000)} s`));
  let watchdog = setTimeout(hangs, watchMs + times.bookmarkQuietMs, watchMs + times.bookmarkQuietMs);
  try {
    for await (const lines of api.lines(`${path}?${query.toString()}`, abort)) {
      for (const line of lines) {
        // A list in this form is thousands of lines that come together.
        await turn();
        events++;
        const event = parseEvent<T>(path, line);
        const { object } = event;
        if (event.type === "ERROR") {
          if (object.code === GONE) return "";
          throw new StatusError(object);
        }
        const at = object.metadata.resourceVersion ?? "";
        if (event.type === "BOOKMARK") {
          clearTimeout(watchdog);
          watchdog = setTimeout(hangs, times.bookmarkQuietMs, times.bookmarkQuietMs);
          // A server whose versions went back was restored from a backup: what we know is of another past.
          if (wentBack(version, at)) return "";
          if (initial !== undefined && object.metadata.annotations?.["k8s.io/initial-events-end"] === "true") {
            await sink.replace(initial);
            initial = undefined;
          }
        } else if (initial === undefined) {
          if (event.type === "DELETED") sink.delete(nameOf(object));
          else sink.set(nameOf(object), sink.keep(object));
        } else {
          if (event.type === "DELETED") initial.delete(nameOf(object));
          else initial.set(nameOf(object), sink.keep(object));
          if (initial.size > OBJECTS_MAX)
            throw new DiscoveryError("bad_answer", `${path}: over ${OBJECTS_MAX} objects`);
        }
        version = at;
      }
    }
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    if (error.code === GONE) return "";
    // A server without streaming lists calls their parameters invalid.
    if (from !== undefined || (error.code !== 422 && error.code !== 400)) throw error;
    api.streamsLists = false;
    return "";
  } finally {
    clearTimeout(watchdog);
  }
  if (initial !== undefined) {
    // It ignored what it doesn't know, or was in a hurry to end; pages work with every server.
    api.streamsLists = false;
    return "";
  }
  if (events === 0 && performance.now() - began < times.watchMsMin) {
    throw new DiscoveryError("unreachable", `${path}: the server ended a watch at once`);
  }
  return version;
}

/** How an object is known among those of its kind: "namespace/name". */
export const nameOf = ({ metadata }: KubernetesObject) => `${metadata.namespace ?? ""}/${metadata.name}`;

function parseEvent<T>(path: string, line: string): WatchEvent<T> {
  try {
    const event = JSON.parse(line) as WatchEvent<T>;
    if (event.type === "ERROR" || typeof event.object.metadata === "object") return event;
  } catch {
    // Said below.
  }
  throw new DiscoveryError("bad_answer", `${path}: a line of the watch is no event: ${line.slice(0, 100)}`);
}

/** Versions are numbers that grow (KEP-5504); where one is something else, nothing can be said. */
const wentBack = (known: string, now: string) =>
  /^\d+$/.test(known) && /^\d+$/.test(now) && BigInt(now) < BigInt(known);
