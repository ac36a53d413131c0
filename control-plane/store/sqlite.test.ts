import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";

import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { openStore } from "./open.ts";

let dir: string;
let dataDir: string;
let file: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-sqlite-"));
  dataDir = join(dir, "data");
  file = join(dataDir, "sluice.db");
});
afterEach(() => rm(dir, { recursive: true }));

const open = () => openStore({ dataDir }, { warn: () => {} });

/** A closed store with something in it. */
async function makeStore(): Promise<void> {
  const store = await open();
  const value = create(ServiceSchema, { name: "a", gatewayGroup: "default", description: "x".repeat(200) });
  const puts = Array.from({ length: 200 }, (_, at) => ({
    kind: "service" as const,
    value: { ...value, name: `s${at}` },
  }));
  await store.write({ actor: "test" }, () => ({ writes: { puts, deletes: [] }, result: undefined }));
  await store.close();
}

const damaged = (pattern: RegExp) => ({ reason: "corrupt", message: expect.stringMatching(pattern) });

test("its directory and files are for the owner only", async () => {
  const store = await open();
  expect(statSync(dataDir).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(dataDir))
    expect([name, statSync(join(dataDir, name)).mode & 0o777]).toEqual([name, 0o600]);
  await store.close();
  chmodSync(file, 0o644);
  await (await open()).close();
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test("a second process is refused while the first one runs", async () => {
  const store = await open();
  // What another process would do; SQLite's locks are per connection.
  await expect(open()).rejects.toMatchObject({ reason: "in_use", message: expect.stringContaining(file) });
  await store.close();
  await (await open()).close();
});

test("an emptied file is an error, not an empty gateway", async () => {
  await makeStore();
  truncateSync(file, 0);
  await expect(open()).rejects.toMatchObject(damaged(/sluice\.db is damaged: it is empty/));
});

test("a file of something else is an error", async () => {
  mkdirSync(dataDir);
  writeFileSync(file, "what is this? ".repeat(1000));
  await expect(open()).rejects.toMatchObject(damaged(/sluice\.db is damaged \(file is not a database\)/));
});

test("another program's database is an error", async () => {
  mkdirSync(dataDir);
  const other = new DatabaseSync(file);
  other.exec("create table t (x)");
  other.close();
  await expect(open()).rejects.toMatchObject(damaged(/sluice\.db is an SQLite database, but not one of Sluice's/));
});

test.each([0.3, 0.6, 0.9])("garbage at %d of the file is an error", async (part) => {
  await makeStore();
  const bytes = readFileSync(file);
  const at = Math.floor((bytes.length * part) / 4096) * 4096;
  bytes.fill(0xa5, at, at + 4096);
  writeFileSync(file, bytes);
  await expect(open()).rejects.toMatchObject(damaged(/sluice\.db/));
});

test("a truncated file is an error", async () => {
  await makeStore();
  truncateSync(file, Math.floor(statSync(file).size / 2 / 4096) * 4096);
  await expect(open()).rejects.toMatchObject(damaged(/sluice\.db/));
});

test("a log without its database is an error", async () => {
  mkdirSync(dataDir);
  writeFileSync(`${file}-wal`, "x");
  await expect(open()).rejects.toMatchObject(damaged(/sluice\.db is missing/));
});

test("a start that was killed half-way is no obstacle", async () => {
  mkdirSync(dataDir);
  writeFileSync(`${file}.new`, "half a database");
  await (await open()).close();
  expect(existsSync(`${file}.new`)).toBe(false);
  rmSync(file);
});
