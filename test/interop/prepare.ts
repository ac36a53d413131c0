import { spawn } from "node:child_process";
import { join } from "node:path";

/**
 * Begins what takes longest on a fresh machine, building kube-apiserver, in the background of the other tests; sequence.ts puts the tests
 * that need it last. Where it is built already nothing happens.
 */
export function setup(): () => void {
  const program = `import { kube } from ${JSON.stringify(join(import.meta.dirname, "../support/kube-install.ts"))}; await kube();`;
  const options = { stdio: "ignore", detached: true } as const;
  const building = spawn(process.execPath, ["--input-type=module", "-e", program], options);
  // A failure shows where it matters: the tests then build it themselves, and say why they can't.
  building.on("error", () => {});
  building.unref();
  return () => {
    if (building.exitCode !== null || building.pid === undefined) return;
    try {
      // With the compilers that it started.
      process.kill(-building.pid);
    } catch {
      // It ended a moment ago.
    }
  };
}
