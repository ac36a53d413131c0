/**
 * Compiles all programs once, so that their first start takes no longer than any other (CLI, control plane and proxy keep compiled code in
 * this directory; see control-plane/cli/main.ts). The end of `npm run prepare`. Nothing depends on it: what is not there, or is outdated, is
 * compiled when it is loaded.
 */
import { enableCompileCache, flushCompileCache } from "node:module";
import { join } from "node:path";

enableCompileCache(join(import.meta.dirname, "../node_modules/.cache/sluice/compile"));

await import("../control-plane/cli/run.ts");
for (const command of ["apply", "get", "delete", "status", "version"]) {
  await import(`../control-plane/cli/commands/${command}.ts`);
}
for (const file of ["up", "config", "demo", "nodes"]) await import(`../control-plane/cli/up/${file}.ts`);
await import("../control-plane/cli/programs.ts");
await import("../control-plane/main.ts");
await import("../proxy/main.ts");
// It is compiled like the others, and then refuses to run outside a worker thread.
await import("../proxy/worker.ts").catch(() => {});
flushCompileCache();
// Loading starts nothing, but what a library may have begun need not be waited for.
process.exit(0);
