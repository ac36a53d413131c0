import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { resourceType } from "#proto/resource-types.ts";

import { journalFile } from "./journal.ts";
import { SnapshotKeeper } from "./snapshot-keeper.ts";
import { loadSnapshot, type StoredResource } from "./snapshot.ts";

const cds = resourceType("CDS").typeUrl;
const vhds = resourceType("VHDS").typeUrl;

let directory: string;
let file: string;
let inUse: Map<string, StoredResource>;
let keeper: SnapshotKeeper;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sluice-journal-"));
  file = join(directory, "snapshot");
  inUse = new Map();
  keeper = newKeeper();
});

afterEach(() => rm(directory, { recursive: true }));

const newKeeper = () =>
  new SnapshotKeeper({
    file,
    group: "default",
    all: () => [...inUse.values()],
    find: (typeUrl, name) => inUse.get(`${typeUrl} ${name}`),
  });

function set(typeUrl: string, name: string, version: string | undefined, size = 3): void {
  if (version === undefined) inUse.delete(`${typeUrl} ${name}`);
  else inUse.set(`${typeUrl} ${name}`, { typeUrl, name, version, bytes: new Uint8Array(size).fill(Number(version)) });
  keeper.changed([{ typeUrl, name }]);
}

/** What a proxy that starts now would find. */
async function found(): Promise<string[]> {
  const loaded = await loadSnapshot(file, "default");
  if (loaded.kind !== "loaded") return [loaded.kind];
  return loaded.resources
    .map(({ typeUrl, name, version }) => `${typeUrl === cds ? "CDS" : "VHDS"} ${name} ${version}`)
    .sort();
}

test("after the first write only what changed is written, and a start finds all of it", async () => {
  for (const name of ["a", "b", "c"]) set(cds, name, "1", 1000);
  await keeper.write();
  const before = await readFile(file);
  set(cds, "a", "2");
  set(cds, "b", undefined);
  set(vhds, "r/a", "1");
  await keeper.write();
  set(vhds, "r/a", "2");
  await keeper.write();
  expect(await found()).toEqual(["CDS a 2", "CDS c 1", "VHDS r/a 2"]);
  expect((await readFile(file)).equals(before)).toBe(true);
  const { size, mode } = await stat(journalFile(file));
  expect(size).toBeLessThan(600);
  expect(mode & 0o777).toBe(0o600);
});

test("a journal that a crash cut short counts as far as it is whole, and a damaged record ends it", async () => {
  set(cds, "a", "1");
  await keeper.write();
  set(cds, "a", "2");
  await keeper.write();
  const whole = await readFile(journalFile(file));
  set(cds, "a", "3");
  await keeper.write();
  const longer = await readFile(journalFile(file));
  for (const cut of [1, 10, 30]) {
    await writeFile(journalFile(file), longer.subarray(0, -cut));
    expect(await found()).toEqual(["CDS a 2"]);
  }
  longer[whole.length + 30]! ^= 1;
  await writeFile(journalFile(file), longer);
  expect(await found()).toEqual(["CDS a 2"]);
  await writeFile(journalFile(file), "");
  expect(await found()).toEqual(["CDS a 1"]);
});

test("a journal of another snapshot is none", async () => {
  set(cds, "a", "1");
  await keeper.write();
  set(cds, "a", "2");
  await keeper.write();
  const old = await readFile(journalFile(file));
  // As after a crash between the snapshot of a later run and its journal.
  set(cds, "a", "3");
  keeper = newKeeper();
  await keeper.write();
  await writeFile(journalFile(file), old);
  expect(await found()).toEqual(["CDS a 3"]);
});

test("a journal as large as the snapshot gives way to a new one", async () => {
  set(cds, "a", "1");
  await keeper.write();
  for (let at = 0; at < 3; at++) {
    set(cds, "a", String(at + 2), 600_000);
    await keeper.write();
  }
  // The second of them made it more than 1 MB, so that the third wrote everything.
  expect((await stat(journalFile(file))).size).toBeLessThan(200);
  expect(await found()).toEqual(["CDS a 4"]);
});

test("a write that fails is made good by the next one", async () => {
  set(cds, "a", "1");
  await keeper.write();
  await rm(directory, { recursive: true });
  set(cds, "a", "2");
  await expect(keeper.write()).rejects.toThrow("ENOENT");
  set(cds, "b", "1");
  await keeper.write();
  expect(await found()).toEqual(["CDS a 2", "CDS b 1"]);
});
