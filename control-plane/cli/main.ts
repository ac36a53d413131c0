/** The entry of `sluice`: whatever a command needs is loaded only by that command, and compiled once (compile cache). */
import { enableCompileCache } from "node:module";
import { join } from "node:path";

import { bundled } from "./bundle.ts";
import type * as program from "./run.ts";

// Where it can't be written, everything just takes a little longer. The variable is for worker threads and child processes.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "../../node_modules/.cache/sluice/compile");
enableCompileCache(process.env["NODE_COMPILE_CACHE"]);

// The same module as "./run.ts", made into one file with what it imports (deploy/bundle.ts).
const file = bundled("control-plane/cli/run.ts") ?? "./run.ts";
const { run } = (await import(file)) as typeof program;
process.exitCode = await run(process.argv.slice(2), import.meta.filename);
if (process.connected) process.disconnect();
