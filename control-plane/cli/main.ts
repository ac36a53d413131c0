/** The entry of `sluice`: whatever a command needs is loaded only by that command, and compiled once (compile cache). */
import { enableCompileCache } from "node:module";
import { join } from "node:path";

// Where it can't be written, everything just takes a little longer. The variable is for worker threads and child processes.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "../../node_modules/.cache/sluice/compile");
enableCompileCache(process.env["NODE_COMPILE_CACHE"]);

const { run } = await import("./run.ts");
process.exitCode = await run(process.argv.slice(2), import.meta.filename);
if (process.connected) process.disconnect();
