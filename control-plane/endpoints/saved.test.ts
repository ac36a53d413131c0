import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";

import { type SavedSnapshot, SavedSnapshotSchema } from "#sluice/discovery/v1/saved_pb.ts";

import { snapshotOf } from "../../discovery/testing/scripted-source.ts";
import { waitFor } from "../../test/support/wait.ts";
import { SavedFile } from "./saved.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-saved-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

const saved = (...addresses: string[]): SavedSnapshot[] => [
  create(SavedSnapshotSchema, { gatewayGroup: "g", registry: "r", snapshot: snapshotOf("orders", addresses) }),
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
  expect(new SavedFile(dir, snapshots, () => {}).load()).toEqual(saved("10.0.0.2"));
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
  expect(
    new SavedFile(
      dir,
      () => [],
      () => {},
    ).load(),
  ).toEqual(saved("10.0.0.1"));
});
