import { getCompileCacheDir } from "node:module";
import { dirname, extname } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";

import type { ToWorker, WorkerSettings } from "./worker-messages.ts";

/**
 * The size of each half of a worker's new space, at most. V8's own limit lets it grow to 64 MB and more, which nobody needs; with 4 each request
 * cost a sixth more, since what is under way is copied by every collection.
 */
const SEMI_SPACE_MB = 8;

/** Starts a thread that runs worker.ts. */
export function startThread(settings: WorkerSettings): Worker {
  // For threads that start from now on. Their resourceLimits would not do: the process's own option has precedence over them.
  setFlagsFromString(`--max-semi-space-size=${SEMI_SPACE_MB}`);
  // Beside this file, and made into another one as this is (deploy/bundle.ts).
  return new Worker(new URL(`./worker${extname(import.meta.filename)}`, import.meta.url), {
    workerData: settings,
    name: `worker ${settings.place}`,
    env: workerEnvironment(),
  });
}

/** Sends a worker a message. */
export const post = (worker: Worker, message: ToWorker): void => worker.postMessage(message);

/** Compiled code that is kept on disk for this thread (module.enableCompileCache) is of use to workers as well; it halves their start. */
function workerEnvironment(): NodeJS.ProcessEnv {
  const directory = getCompileCacheDir();
  return directory === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(directory) };
}
