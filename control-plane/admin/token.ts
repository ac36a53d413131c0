import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

import { StartError } from "./start-error.ts";

/** What every administrator token starts with, so that secret scanners find a leaked one. */
const TOKEN_PREFIX = "sluice_";

const TOKEN_PATTERN = /^sluice_[A-Za-z0-9_-]{43}$/;

/** The administrator's token. */
export interface AdminToken {
  /** SHA-256 of the token; the token itself is not kept. */
  readonly digest: Buffer;
  /** Where the token came from, for people: a file's path or "SLUICE_ADMIN_TOKEN". */
  readonly origin: string;
  /** The token, if it was made now, to be shown this once. */
  readonly created: string | undefined;
}

/** Where a data directory has the token. */
const tokenFile = (dataDir: string) => join(dataDir, "admin-token");

/**
 * Takes the token that the environment gives, or the one in the data directory, which is made if there is none. Replicas on one
 * PostgreSQL need the same token, hence the first way.
 * @throws StartError
 */
export function loadToken(dataDir: string, fromEnvironment: string | undefined): AdminToken {
  if (fromEnvironment !== undefined && fromEnvironment !== "") {
    return { digest: checked(fromEnvironment, "SLUICE_ADMIN_TOKEN"), origin: "SLUICE_ADMIN_TOKEN", created: undefined };
  }
  const file = tokenFile(dataDir);
  if (existsSync(file)) {
    const digest = checked(readFileSync(file, "utf8").trim(), file);
    chmodSync(file, 0o600);
    return { digest, origin: file, created: undefined };
  }
  const token = `${TOKEN_PREFIX}${randomBytes(32).toString("base64url")}`;
  // Whole or not at all, like every file that a start depends on.
  const draft = `${file}.new`;
  rmSync(draft, { force: true });
  const handle = openSync(draft, "wx", 0o600);
  writeSync(handle, `${token}\n`);
  fsyncSync(handle);
  closeSync(handle);
  renameSync(draft, file);
  return { digest: digestOf(token), origin: file, created: token };
}

/** Whether a caller's token is the administrator's; takes the same time for every wrong one. */
export const tokenMatches = (token: AdminToken, given: string): boolean =>
  timingSafeEqual(token.digest, digestOf(given));

function checked(token: string, origin: string): Buffer {
  if (TOKEN_PATTERN.test(token)) return digestOf(token);
  throw new StartError(
    `${origin} holds no administrator token, which is "${TOKEN_PREFIX}" and 43 characters of A-Z, a-z, 0-9, "-" and "_"`,
  );
}

const digestOf = (token: string) => createHash("sha256").update(token).digest();
