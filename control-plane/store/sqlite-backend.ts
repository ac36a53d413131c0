import type { Backend } from "./backend.ts";
import type { SecretBox } from "./secret-box.ts";
import { openSqlite, sqliteError } from "./sqlite.ts";
import { databaseFile } from "./sqlite-files.ts";

/** The embedded store. One process has it alone, so that there is nobody to lock out, to tell or to follow. */
export async function sqliteBackend(dataDir: string, secrets: SecretBox): Promise<Backend> {
  const file = databaseFile(dataDir);
  return {
    kind: "sqlite",
    db: await openSqlite(dataDir),
    where: file,
    secrets,
    explain: (error) => sqliteError(error, file),
    lock: async () => {},
    announce: async () => {},
    nowMs: async () => Date.now(),
    hint: async () => {},
    followHints: () => async () => {},
    follow: () => async () => {},
  };
}
