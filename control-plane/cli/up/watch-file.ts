import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";

import { fileSignature } from "../file-fields.ts";
import { type GatewayText, readTexts } from "../gateway-file.ts";
import type { FileProblem } from "../yaml/tree.ts";

/** An editor's write is several events; the last one counts. */
const QUIET_MS = 30;

/** Even under a stream of events the file is read this often. */
const QUIET_MS_MAX = 200;

/** Network file systems send no events. */
const POLL_MS = 2_000;

/** What watchFile reports; one report is awaited before the next. */
export interface FileEvents {
  /** The files that the content names, each with fileSignature() of what was last read of it; a change of one counts as one of the content. */
  named(): ReadonlyMap<string, string>;
  /** The content is new. */
  changed(texts: readonly GatewayText[]): Promise<void>;
  /** The file can't be read now; the last content stays. Reported once until it changes. */
  unreadable(problems: readonly FileProblem[]): void;
}

/**
 * Reports the content of a file, or of a directory's gateway files, whenever it differs from what was reported last. The directory is
 * watched, not the file, so that editors which write a new file and rename it, and Kubernetes' symbolic links, are seen too.
 */
export function watchFile(path: string, initial: readonly GatewayText[], events: FileEvents) {
  let seen = digest(initial);
  let signature = "";
  let failure = "";
  let watchers: FSWatcher[] = [];
  let watched = "";
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  let firstEventMs: number | undefined;
  let queue: Promise<void> = Promise.resolve();

  const schedule = () => {
    if (closed) return;
    firstEventMs ??= performance.now();
    clearTimeout(timer);
    timer = setTimeout(
      () => {
        firstEventMs = undefined;
        queue = queue.then(read);
      },
      Math.min(QUIET_MS, Math.max(0, firstEventMs + QUIET_MS_MAX - performance.now())),
    );
  };

  const read = async (): Promise<void> => {
    if (closed) return;
    await arm();
    const before = await signatureOf(path);
    const result = await readTexts(path);
    const after = await signatureOf(path);
    // It was written to meanwhile: what was read may be half of it.
    if (before !== after) {
      schedule();
      return;
    }
    signature = after;
    if (!result.ok) {
      const said = result.problems.map(({ message }) => message).join();
      if (said !== failure) events.unreadable(result.problems);
      failure = said;
      return;
    }
    failure = "";
    const now = digest(result.texts);
    if ((now === seen && !(await namedChanged())) || closed) return;
    seen = now;
    await events.changed(result.texts);
  };

  const namedChanged = async (): Promise<boolean> => {
    for (const [file, signature] of events.named()) if ((await signatureOf(file)) !== signature) return true;
    return false;
  };

  /** Watches the directories that the paths lead through now; they change with symbolic links. */
  const arm = async (): Promise<void> => {
    const found = new Set(await directoriesOf(path));
    for (const file of events.named().keys()) for (const directory of await directoriesOf(file)) found.add(directory);
    const directories = [...found];
    if (directories.join("\n") === watched || closed) return;
    for (const watcher of watchers) watcher.close();
    watched = directories.join("\n");
    watchers = directories.flatMap((directory) => {
      try {
        const watcher = watch(directory, { persistent: false }, schedule);
        // A directory that is removed or full of events; the poll goes on, and arms again.
        watcher.on("error", () => {
          watched = "";
        });
        return [watcher];
      } catch {
        watched = "";
        return [];
      }
    });
  };

  const poll = setInterval(() => {
    queue = queue.then(async () => {
      await arm();
      if (!closed && ((await signatureOf(path)) !== signature || (await namedChanged()))) schedule();
    });
  }, POLL_MS);
  // What changed between the first read and now.
  schedule();

  return {
    /** Ends the watch; a report under way is waited for. */
    async close(): Promise<void> {
      closed = true;
      clearTimeout(timer);
      clearInterval(poll);
      for (const watcher of watchers) watcher.close();
      await queue;
    },
  };
}

function digest(texts: readonly GatewayText[]): string {
  const hash = createHash("sha256");
  for (const { path, text } of texts) hash.update(`${path.length}:${path}${text.length}:${text}`);
  return hash.digest("base64");
}

async function directoriesOf(path: string): Promise<string[]> {
  const real = await realpath(path).catch(() => path);
  const isDirectory = await stat(real).then(
    (found) => found.isDirectory(),
    () => false,
  );
  return isDirectory ? [path] : [...new Set([dirname(path), dirname(real)])];
}

/** Differs whenever the file, or the list of files, does; content within a directory's file is seen by events only. */
async function signatureOf(path: string): Promise<string> {
  return stat(path, { bigint: true }).then(fileSignature, () => "");
}
