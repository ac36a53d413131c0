/**
 * Makes few files of all programs (bundle.ts) and compiles them once, so that their first start takes no longer than any other (CLI, control plane and
 * proxy keep compiled code in a directory; see control-plane/cli/main.ts). The end of `npm run prepare`, and done again by `npm start` and `npm test` once
 * sources have changed. Nothing depends on it: what is not there, or is outdated, is compiled when it is loaded.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { enableCompileCache, flushCompileCache } from "node:module";
import { join } from "node:path";

import { bundled } from "../control-plane/cli/bundle.ts";
import { programFlags } from "../control-plane/cli/program-flags.ts";
import { makeBundle } from "./bundle.ts";

/** What is loaded by each program: made into few files or, if there is no bundle, as it is. */
const programs = {
  cli: [
    ...["apply", "get", "delete", "status", "version"].map((command) => `control-plane/cli/commands/${command}.ts`),
    ...["up", "config", "demo", "nodes"].map((file) => `control-plane/cli/up/${file}.ts`),
  ],
  "control-plane": ["control-plane/main.ts"],
  proxy: ["proxy/main.ts", "proxy/worker.ts"],
} as const;

const compiled = join(import.meta.dirname, "../node_modules/.cache/sluice/compile");

const [, file = "", program] = process.argv;
if (program === undefined) {
  const isNew = await makeBundle().catch((error: unknown) => {
    console.error("sluice: programs will start from their sources, which takes longer:", error);
    return true;
  });
  if (!isNew) process.exit(0);
  // Of what was before.
  rmSync(compiled, { recursive: true, force: true });
  // Each in a process with the flags that it runs with, since V8 takes compiled code for no others.
  for (const name of Object.keys(programs) as (keyof typeof programs)[]) {
    const flags = name === "cli" ? [] : programFlags(name);
    spawnSync(process.execPath, [...flags, "--disable-warning=ExperimentalWarning", file, name], { stdio: "inherit" });
  }
  process.exit(0);
}
enableCompileCache(compiled);
const all = [
  "control-plane/cli/run.ts",
  "control-plane/cli/programs.ts",
  ...programs[program as keyof typeof programs],
];
for (const source of all) {
  // A worker refuses to run outside of a thread of its own, but is compiled by then. What is part of another file has none of its own.
  await import(bundled(source) ?? `../${source}`).catch(() => {});
}
flushCompileCache();
// Loading starts nothing, but what a library may have begun need not be waited for.
process.exit(0);
