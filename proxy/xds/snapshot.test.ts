import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { resourceType } from "#proto/resource-types.ts";

import { loadSnapshot, SnapshotWriter, saveSnapshot } from "./snapshot.ts";

const { typeUrl } = resourceType("CDS");
const resources = [{ typeUrl, name: "a", version: "1", bytes: Uint8Array.of(1, 2, 3) }];

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sluice-snapshot-"));
  file = join(directory, "deep", "snapshot");
});

afterEach(() => rm(directory, { recursive: true }));

test("what was saved is loaded, and is readable by its owner only", async () => {
  await saveSnapshot(file, "default", resources);
  expect(await loadSnapshot(file, "default")).toEqual({ kind: "loaded", resources });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

test("a file of the version before is read", async () => {
  await saveSnapshot(file, "default", resources);
  await writeFile(file, (await readFile(file, "latin1")).replace("snapshot 2", "snapshot 1"), "latin1");
  expect(await loadSnapshot(file, "default")).toEqual({ kind: "loaded", resources });
});

test("no file is no mistake", async () => {
  expect(await loadSnapshot(file, "default")).toEqual({ kind: "absent" });
});

test("a file of another gateway group is not used", async () => {
  await saveSnapshot(file, "stage", resources);
  expect(await loadSnapshot(file, "default")).toEqual({
    kind: "unusable",
    reason: `${file} is of the gateway group "stage", not of "default"`,
  });
});

test.each<[string, (content: Buffer) => Buffer | string, string]>([
  ["a changed byte", (content) => Buffer.concat([content.subarray(0, -1), Buffer.of(7)]), "checksum"],
  ["a missing end", (content) => content.subarray(0, -1), "checksum"],
  ["nothing", () => "", "cut short"],
  ["another format", (content) => content.toString("latin1").replace("snapshot 2", "snapshot 3"), "snapshot 3"],
  ["a header that is no JSON", () => "sluice-proxy-snapshot 2\n{\n", "is damaged"],
])("a file with %s is refused by name", async (_what, damage, reason) => {
  await saveSnapshot(file, "default", resources);
  await writeFile(file, damage(await readFile(file)));
  const loaded = await loadSnapshot(file, "default");
  expect(loaded).toMatchObject({ kind: "unusable", reason: expect.stringContaining(reason) });
  expect(loaded).toMatchObject({ reason: expect.stringContaining(file) });
});

test("the writer writes the last of many changes, one write at a time", async () => {
  let state = 0;
  let writing = 0;
  const written: number[] = [];
  const writer = new SnapshotWriter(
    async () => {
      expect(++writing).toBe(1);
      const now = state;
      await Promise.resolve();
      written.push(now);
      writing--;
    },
    () => {},
  );
  for (state = 1; state < 5; state++) writer.changed();
  await writer.flush();
  await writer.flush();
  expect(written).toEqual([5]);
});

test("a write that fails is told once, and tried again though nothing changes, at the end at the latest", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    const failures: unknown[] = [];
    let fails = true;
    let [tried, written] = [0, 0];
    const writer = new SnapshotWriter(
      async () => {
        tried++;
        if (fails) throw new Error("disk full");
        written++;
      },
      (error) => failures.push(error),
    );
    writer.changed();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(tried).toBeGreaterThan(2);
    expect(failures).toHaveLength(1);
    fails = false;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(written).toBe(1);
    fails = true;
    writer.changed();
    await writer.flush();
    expect(failures).toHaveLength(2);
    fails = false;
    await writer.flush();
    expect(written).toBe(2);
  } finally {
    vi.useRealTimers();
  }
});

test("while another process has the file nothing is written; what changed meanwhile is, once it is given back", async () => {
  const written: number[] = [];
  let state = 1;
  const writer = new SnapshotWriter(
    async () => void written.push(state),
    () => {},
  );
  writer.changed();
  await writer.write();
  await writer.hold();
  state = 2;
  writer.changed();
  await writer.flush();
  expect(written).toEqual([1]);
  writer.release();
  await writer.flush();
  expect(written).toEqual([1, 2]);
});

test("a write that fails is told, and the next change tries again", async () => {
  const failures: unknown[] = [];
  let fails = true;
  const writer = new SnapshotWriter(
    () => (fails ? Promise.reject(new Error("disk full")) : Promise.resolve()),
    (error) => failures.push(error),
  );
  writer.changed();
  await writer.flush();
  fails = false;
  writer.changed();
  await writer.flush();
  expect(failures).toHaveLength(1);
});

test("after a write that took very long the next change is on disk within ten seconds all the same", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    let [begun, done] = [0, 0];
    const writer = new SnapshotWriter(
      async () => {
        begun++;
        await new Promise((resolve) => setTimeout(resolve, 5000));
        done++;
      },
      () => {},
    );
    writer.changed();
    await vi.advanceTimersByTimeAsync(999);
    expect(begun).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(begun).toBe(1);
    writer.changed();
    await vi.advanceTimersByTimeAsync(5000);
    expect(done).toBe(1);
    await vi.advanceTimersByTimeAsync(9999);
    expect(begun).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(begun).toBe(2);
  } finally {
    vi.useRealTimers();
  }
});
