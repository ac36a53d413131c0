import { readFileSync } from "node:fs";
import { join } from "node:path";

/** V8's flags for a program that keeps running, as the `sluice` script has them from the same file. The compile cache holds for one set of flags only. */
export const programFlags = (program: "control-plane" | "proxy"): string[] =>
  readFileSync(join(import.meta.dirname, `${program}.flags`), "utf8")
    .trim()
    .split(" ");
