import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { canonical } from "../../discovery/canonical.ts";
import { serviceKey, snapshotOf } from "../../discovery/testing/scripted-source.ts";
import { waitFor } from "../../test/support/wait.ts";
import { type Saved, SavedFile } from "./saved.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-saved-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

const saved = (...addresses: string[]): Saved[] => [
  { gatewayGroup: "g", registry: "r", service, served: canonical(snapshotOf("orders", addresses)) },
];
const service = serviceKey("orders");
const loaded = (file: SavedFile) => file.load().map(({ served, ...more }) => ({ ...more, snapshot: served.decode() }));
const expected = (...addresses: string[]) => [
  { gatewayGroup: "g", registry: "r", service, snapshot: snapshotOf("orders", addresses) },
];

test("what was touched is on the disk soon, whole, for its owner alone, and with nothing beside it", async () => {
  const warnings: string[] = [];
  let now = saved("10.0.0.1");
  let asked = 0;
  const snapshots = () => {
    asked++;
    return now;
  };
  const file = new SavedFile(dir, snapshots, (message) => warnings.push(message));
  expect(file.load()).toEqual([]);
  for (let at = 0; at < 100; at++) file.touch();
  await waitFor("the file", async () => (await readdir(dir)).join() === "endpoints.bin");
  expect(asked).toBe(1);
  expect((await stat(join(dir, "endpoints.bin"))).mode & 0o777).toBe(0o600);
  now = saved("10.0.0.2");
  file.touch();
  await file.close();
  expect(loaded(new SavedFile(dir, snapshots, () => {}))).toEqual(expected("10.0.0.2"));
  expect(warnings).toEqual([]);
  expect(await readdir(dir)).toEqual(["endpoints.bin"]);
});

test("a disk that takes nothing is warned of, and what was there stays", async () => {
  const warnings: string[] = [];
  const first = new SavedFile(
    dir,
    () => saved("10.0.0.1"),
    () => {},
  );
  first.touch();
  await first.close();
  // A folder that isn't there, in which not even root can write.
  const file = new SavedFile(
    join(dir, "missing"),
    () => saved("10.0.0.2"),
    (message) => warnings.push(message),
  );
  file.touch();
  await file.close();
  expect(warnings).toEqual([expect.stringContaining("can't be saved")]);
  const again = new SavedFile(
    dir,
    () => [],
    () => {},
  );
  expect(loaded(again)).toEqual(expected("10.0.0.1"));
});
