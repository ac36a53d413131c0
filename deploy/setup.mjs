/**
 * What `npm ci` would do, where it has not been done: `npm start` and `npm test` are one command on a fresh clone.
 * With --link: puts `sluice` beside the tools that npm installed, so that `npx sluice` and npm scripts find it.
 *
 * Runs on whatever Node the machine has (18 or newer); everything else runs on the one that npm installs.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const bin = join(root, "node_modules/.bin");
const stamp = join(root, "node_modules/.sluice-installed");
const lock = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex");

if (process.argv.includes("--link")) {
  rmSync(join(bin, "sluice"), { force: true });
  symlinkSync("../../control-plane/cli/sluice", join(bin, "sluice"));
  writeFileSync(stamp, lock);
} else if (!existsSync(join(bin, "node")) || !existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
  console.error("sluice: first run here, installing (npm ci)");
  try {
    execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: root, stdio: ["ignore", 2, 2] });
  } catch {
    // npm has said why.
    console.error("sluice: npm ci failed; nothing can start without what it installs");
    process.exit(1);
  }
} else {
  for (const file of ["proto/generate.ts", "deploy/warm.ts"]) {
    execFileSync(join(bin, "node"), ["--disable-warning=ExperimentalWarning", join(root, file)], {
      cwd: root,
      stdio: ["ignore", 2, 2],
      env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
    });
  }
}
