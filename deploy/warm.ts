/**
 * Compiles all programs once, so that their first start takes no longer than any other (CLI, control plane and proxy keep compiled code in
 * this directory; see control-plane/cli/main.ts). The end of `npm run prepare`. Nothing depends on it: what is not there, or is outdated, is
 * compiled when it is loaded.
 */
import { spawnSync } from "node:child_process";
import { enableCompileCache, flushCompileCache } from "node:module";
import { join } from "node:path";

import { programFlags } from "../control-plane/cli/program-flags.ts";

/** Each is loaded in a process with the flags that it runs with, since V8 takes compiled code for no others. */
const programs = {
  cli: async () => {
    for (const command of ["apply", "get", "delete", "status", "version"]) {
      await import(`../control-plane/cli/commands/${command}.ts`);
    }
    for (const file of ["up", "config", "demo", "nodes"]) await import(`../control-plane/cli/up/${file}.ts`);
  },
  "control-plane": async () => void (await import("../control-plane/main.ts")),
  proxy: async () => {
    await import("../proxy/main.ts");
    // It is compiled like the others, and then refuses to run outside a worker thread.
    await import("../proxy/worker.ts").catch(() => {});
  },
};

const [, file = "", program] = process.argv;
if (program === undefined) {
  for (const name of Object.keys(programs) as (keyof typeof programs)[]) {
    const flags = name === "cli" ? [] : programFlags(name);
    spawnSync(process.execPath, [...flags, "--disable-warning=ExperimentalWarning", file, name], { stdio: "inherit" });
  }
  process.exit(0);
}
enableCompileCache(join(import.meta.dirname, "../node_modules/.cache/sluice/compile"));
await import("../control-plane/cli/run.ts");
await import("../control-plane/cli/programs.ts");
await programs[program as keyof typeof programs]();
flushCompileCache();
// Loading starts nothing, but what a library may have begun need not be waited for.
process.exit(0);
