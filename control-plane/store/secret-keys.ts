import { readFileSync } from "node:fs";

import { StoreError } from "./errors.ts";
import { parseSecretKeys } from "./secret-box.ts";

/**
 * The keys that secrets in the store are encrypted with.
 * @param file one key a line, the first of which encrypts; undefined for those in `text`
 * @param text what SLUICE_SECRET_KEY says
 * @returns undefined without either
 * @throws StoreError "secret_key", which doesn't show what was read
 */
export function loadSecretKeys(file: string | undefined, text: string | undefined): readonly Buffer[] | undefined {
  const given = file === undefined ? text : read(file);
  if (given === undefined || (file === undefined && given === "")) return undefined;
  const keys = parseSecretKeys(given);
  if (keys !== undefined) return keys;
  const right = 'expected a key of 32 bytes in base64, one a line, as "openssl rand -base64 32" makes it';
  throw new StoreError("secret_key", `${file ?? "SLUICE_SECRET_KEY"}: ${right}`);
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const { code = "unknown error" } = error as NodeJS.ErrnoException;
    throw new StoreError("secret_key", `--secret-key-file ${file} can't be read (${code})`, { cause: error });
  }
}
