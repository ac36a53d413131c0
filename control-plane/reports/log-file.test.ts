import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";

import { afterEach, beforeEach, expect, test } from "vitest";

import { waitFor } from "../../test/support/wait.ts";
import { LogFile } from "./log-file.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-log-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("lines keep their order, and all that was taken is written at the end", async () => {
  const path = join(folder, "log");
  const file = new LogFile(path, () => {});
  const lines = Array.from({ length: 10_000 }, (_, at) => `line ${at}`);
  for (const line of lines) file.write(line);
  await file.close();
  expect((await readFile(path, "utf8")).trimEnd().split("\n")).toEqual(lines);
  expect(file.dropped).toBe(0);
});

test("what doesn't fit into the queue is dropped and counted", async () => {
  const file = new LogFile(join(folder, "log"), () => {});
  const line = "x".repeat(1024 * 1024);
  for (let at = 0; at < 20; at++) file.write(line);
  expect(file.dropped).toBe(12);
  await file.close();
});

test("a file that can't be opened loses lines, says why, and is tried again", async () => {
  const path = join(folder, "not-yet", "log");
  const failures: Error[] = [];
  const file = new LogFile(path, (error) => failures.push(error));
  file.write("lost");
  await waitFor("the failure", () => failures.length > 0);
  expect(file.dropped).toBe(1);
  await mkdir(join(folder, "not-yet"));
  file.write("kept");
  await waitFor("the line", async () => (await readFile(path, "utf8")) === "kept\n");
  await file.close();
});

test("reopen() is done when what was being written to the file of before is in there", async () => {
  // Nothing can be written to a pipe before somebody reads from it.
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  const file = new LogFile(path, () => {});
  file.write("old");
  await setImmediate();
  let isDone = false;
  const reopened = (async () => {
    await file.reopen();
    isDone = true;
  })();
  await setImmediate();
  expect(isDone).toBe(false);
  // It ends when the file is let go.
  expect(await readFile(path, "utf8")).toBe("old\n");
  await reopened;
  await file.close();
});
