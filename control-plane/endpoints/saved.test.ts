import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { canonical } from "../../discovery/canonical.ts";
import { serviceKey, snapshotOf } from "../../discovery/testing/scripted-source.ts";
import { waitFor } from "../../test/support/wait.ts";
import { SavedFile } from "./saved.ts";
import type { Saved } from "./saved-records.ts";

let dir: string;
let warnings: string[];
/** What there is to save, by service. */
let now: Map<string, Saved>;
/** How often all of it was asked for. */
let asked: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-saved-"));
  warnings = [];
  now = new Map();
  asked = 0;
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

const path = () => join(dir, "endpoints.bin");
const fileIn = (folder: string) =>
  new SavedFile(
    folder,
    () => {
      asked++;
      return now.values();
    },
    (message) => warnings.push(message),
  );

function put(file: SavedFile, service: string, address: string, hostname = ""): void {
  const snapshot = snapshotOf(service, [address]);
  for (const endpoint of snapshot.endpoints) endpoint.hostname = hostname;
  const served = canonical(snapshot);
  const saved = { gatewayGroup: "g", registry: "r", service: serviceKey(service), served };
  now.set(service, saved);
  file.put(saved);
}

/** What the next run finds, as "service: addresses". */
const loaded = (warn: (message: string) => void = () => {}) =>
  new SavedFile(dir, () => [], warn)
    .load()
    .map(({ gatewayGroup, registry, service, served }) => {
      expect([gatewayGroup, registry]).toEqual(["g", "r"]);
      const addresses = served.decode().endpoints.map(({ address }) => address);
      return `${service.service}: ${addresses.join()}`;
    })
    .sort();

/** Waits until the next run would find just this. */
const saves = (...expected: string[]) =>
  waitFor(`${expected.join("; ")} in the file`, () => {
    if (loaded().join() === expected.join()) return true;
    throw new Error(loaded().join("; "));
  });

test("what changed is on the disk soon, whole, for its owner alone, and with nothing beside it", async () => {
  const file = fileIn(dir);
  expect(file.load()).toEqual([]);
  for (let at = 0; at < 100; at++) put(file, "orders", `10.0.0.${at}`);
  await saves("orders: 10.0.0.99");
  expect(asked).toBe(1);
  expect((await stat(path())).mode & 0o777).toBe(0o600);
  put(file, "orders", "10.0.1.1");
  await file.close();
  expect(loaded()).toEqual(["orders: 10.0.1.1"]);
  expect(warnings).toEqual([]);
  expect(await readdir(dir)).toEqual(["endpoints.bin"]);
});

test("drafts of programs that were killed are removed, those of programs that run are not", async () => {
  const [gone, running] = [`${path()}.4194999`, `${path()}.${process.ppid}`];
  await writeFile(gone, "half of it");
  await writeFile(running, "half of it");
  fileIn(dir).load();
  expect(await readdir(dir)).toEqual([`endpoints.bin.${process.ppid}`]);
  expect(warnings).toEqual([]);
});

test("a change is added to the file; once something is gone, or too much was added, it is written anew", async () => {
  const file = fileIn(dir);
  put(file, "carts", "10.0.0.1");
  put(file, "orders", "10.0.0.1");
  await saves("carts: 10.0.0.1", "orders: 10.0.0.1");
  const before = await readFile(path());
  put(file, "orders", "10.0.0.2");
  await saves("carts: 10.0.0.1", "orders: 10.0.0.2");
  expect((await readFile(path())).subarray(0, before.length)).toEqual(before);
  expect(asked).toBe(1);

  now.delete("carts");
  file.rewrite();
  await saves("orders: 10.0.0.2");
  expect(asked).toBe(2);

  const hostname = "x".repeat(1024 * 1024 + 1);
  put(file, "orders", "10.0.0.1", hostname);
  await waitFor("it to be added", async () => (await stat(path())).size > hostname.length);
  put(file, "orders", "10.0.0.3");
  await saves("orders: 10.0.0.3");
  expect([asked, (await stat(path())).size < 1024]).toEqual([3, true]);
  await file.close();
});

test("a file that someone took away is written anew", async () => {
  const file = fileIn(dir);
  put(file, "carts", "10.0.0.1");
  await saves("carts: 10.0.0.1");
  await rm(path());
  put(file, "orders", "10.0.0.1");
  await saves("carts: 10.0.0.1", "orders: 10.0.0.1");
  await file.close();
  expect(warnings).toEqual([]);
});

test("of a file that ends in the middle of a record, what is before counts, and nothing is added behind it", async () => {
  const first = fileIn(dir);
  put(first, "carts", "10.0.0.1");
  await first.close();
  const whole = await readFile(path());
  await appendFile(path(), whole.subarray(0, whole.length - 3));
  expect(loaded((message) => warnings.push(message))).toEqual(["carts: 10.0.0.1"]);
  expect(warnings).toEqual([expect.stringContaining("the first 1 services can't be read")]);
  const second = fileIn(dir);
  put(second, "orders", "10.0.0.2");
  await second.close();
  expect(loaded()).toEqual(["carts: 10.0.0.1", "orders: 10.0.0.2"]);
  expect(warnings).toHaveLength(1);
});

test("a record that isn't what was written is left out and warned of; the others count", async () => {
  const first = fileIn(dir);
  put(first, "carts", "10.0.0.1");
  put(first, "orders", "10.0.0.1");
  await first.close();
  const bytes = await readFile(path());
  const at = bytes.indexOf("10.0.0.1");
  bytes.write("11.0.0.1", at);
  await writeFile(path(), bytes);
  expect(loaded((message) => warnings.push(message))).toEqual(["orders: 10.0.0.1"]);
  expect(warnings).toEqual([expect.stringContaining("1 records were damaged (wrong checksum)")]);
});

test("a disk that takes nothing is warned of, and what was there stays", async () => {
  const first = fileIn(dir);
  put(first, "orders", "10.0.0.1");
  await first.close();
  // A folder that isn't there, in which not even root can write.
  const file = fileIn(join(dir, "missing"));
  put(file, "orders", "10.0.0.2");
  await file.close();
  expect(warnings).toEqual([expect.stringContaining("can't be saved")]);
  expect(loaded()).toEqual(["orders: 10.0.0.1"]);
});
