import {
  accessSync,
  chmodSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  constants,
  fsyncSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";

import { StoreError } from "./errors.ts";

/** Where the embedded store is in a data directory. */
export const databaseFile = (dataDir: string) => join(dataDir, "sluice.db");

/**
 * Makes the data directory, for its owner only; one that exists keeps its mode. Its parents get the usual mode.
 * @throws StoreError "unavailable" if it can't be made or written to
 */
export function makeDataDir(dataDir: string): void {
  try {
    if (!existsSync(dataDir)) {
      mkdirSync(dirname(dataDir), { recursive: true });
      mkdirSync(dataDir, { mode: 0o700 });
    }
    if (!statSync(dataDir).isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR" });
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code = "unknown error" } = error as NodeJS.ErrnoException;
    throw new StoreError("unavailable", `${dataDir} can't be used as the data directory (${code})`, { cause: error });
  }
}

/**
 * Whether the database file is there. Never true for what only looks like one: an empty file, or a write-ahead log that lost its
 * database, are what a crash of the file system or a wrong copy leaves, and SQLite would take both for a new database.
 * @throws StoreError "corrupt"
 */
export function databaseExists(file: string): boolean {
  if (!existsSync(file)) {
    if (existsSync(`${file}-wal`)) {
      throw new StoreError("corrupt", `${file} is missing while ${file}-wal is there: restore both from a backup`);
    }
    return false;
  }
  if (statSync(file).size === 0) {
    throw new StoreError(
      "corrupt",
      `${file} is damaged: it is empty. Restore it from a backup, or move it away to start anew`,
    );
  }
  return true;
}

/**
 * Makes a new database under another name and renames it when it is complete, so that a crash half-way leaves no file that
 * `databaseExists` would take for a damaged one.
 */
export async function createDatabase(file: string, fill: (file: string) => Promise<void>): Promise<void> {
  const draft = `${file}.new`;
  for (const suffix of ["", "-wal", "-journal", "-shm"]) rmSync(`${draft}${suffix}`, { force: true });
  closeSync(openSync(draft, "wx", 0o600));
  await fill(draft);
  renameSync(draft, file);
  syncDir(dirname(file));
}

/** Readable by the owner only, whoever made it. SQLite gives its log the mode of the database. */
export function protectDatabase(file: string): void {
  for (const path of [file, `${file}-wal`]) {
    if (existsSync(path)) chmodSync(path, 0o600);
  }
}

/** A file's name is as durable as its directory. */
function syncDir(dir: string): void {
  const handle = openSync(dir, "r");
  fsyncSync(handle);
  closeSync(handle);
}
