import { DatabaseSync, type SQLInputValue } from "node:sqlite";

import { Kysely, type SqliteDatabase, SqliteDialect } from "kysely";

import { messageOf, StoreError } from "./errors.ts";
import { migrate } from "./migrations.ts";
import { createDatabase, databaseExists, databaseFile, makeDataDir, protectDatabase } from "./sqlite-files.ts";
import type { Tables } from "./tables.ts";

/** "Slce": marks the file as ours (SQLite's application_id). */
const APPLICATION_ID = 0x536c6365;

/** How long to wait for a process that still holds the file, such as one that is just ending. */
const BUSY_TIMEOUT_MS = 2_000;

// https://www.sqlite.org/rescode.html, primary codes
const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/**
 * Opens the embedded store of a data directory, making it if there is none.
 * @throws StoreError "corrupt", "in_use", "newer_schema", each naming the file
 */
export async function openSqlite(dataDir: string): Promise<Kysely<Tables>> {
  const file = databaseFile(dataDir);
  makeDataDir(dataDir);
  if (!databaseExists(file)) {
    await createDatabase(file, async (draft) => {
      const db = connect(draft);
      db.exec(`pragma application_id = ${APPLICATION_ID}`);
      const tables = new Kysely<Tables>({ dialect: new SqliteDialect({ database: asKyselyDatabase(db) }) });
      try {
        await migrate(tables, "sqlite", file);
      } finally {
        await tables.destroy();
      }
    });
  }
  protectDatabase(file);
  const db = connect(file);
  try {
    check(db, file);
    const tables = new Kysely<Tables>({ dialect: new SqliteDialect({ database: asKyselyDatabase(db) }) });
    await migrate(tables, "sqlite", file);
    return tables;
  } catch (error) {
    db.close();
    throw sqliteError(error, file);
  }
}

/** What a failure of SQLite means to an operator; anything else as it is. */
export function sqliteError(error: unknown, file: string): unknown {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") return error;
  const cause = { cause: error };
  switch (error.errcode & 0xff) {
    case SQLITE_BUSY:
      return new StoreError(
        "in_use",
        `${file} is in use by another process, such as a control plane that runs already`,
        cause,
      );
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new StoreError("corrupt", `${file} is damaged (${error.message}). ${advice}`, cause);
    default:
      return new StoreError("unavailable", `${file}: ${error.message}`, cause);
  }
}

const advice = "Restore it from a backup, or move it away to start anew";

function connect(file: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true });
    // Exclusive: two control planes on one file would each overlook the other's writes. Full: each commit waits for the disk.
    db.exec("pragma locking_mode = exclusive; pragma journal_mode = wal; pragma synchronous = full");
    return db;
  } catch (error) {
    db?.close();
    throw sqliteError(error, file);
  }
}

/** Finds damage now rather than when the damaged page is read. */
function check(db: DatabaseSync, file: string): void {
  const id = db.prepare("pragma application_id").get()?.["application_id"];
  if (id !== APPLICATION_ID) {
    throw new StoreError("corrupt", `${file} is an SQLite database, but not one of Sluice's`);
  }
  const result = db.prepare("pragma quick_check(1)").get()?.["quick_check"];
  if (result !== "ok") throw new StoreError("corrupt", `${file} is damaged (${messageOf(result)}). ${advice}`);
}

/** node:sqlite in the words of better-sqlite3, which Kysely's dialect speaks. */
function asKyselyDatabase(db: DatabaseSync): SqliteDatabase {
  return {
    close: () => db.close(),
    prepare(sql) {
      const statement = db.prepare(sql);
      const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...values(parameters)),
        run: (parameters) => statement.run(...values(parameters)),
        iterate: (parameters) => statement.iterate(...values(parameters)),
      };
    },
  };
}
