/** Access log files: blocks, rotation, and disks that do not keep up. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";

import { afterEach, beforeEach, expect, test } from "vitest";

import { FileSink, LogSinks } from "./file-sink.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-log-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("lines are in the file soon, in order, after what was there", async () => {
  const path = join(folder, "access.log");
  writeFileSync(path, "before\n");
  const sink = new FileSink(path);
  sink.write("one\n");
  sink.write("zw\u00f6lf\n");
  await expect.poll(() => readFileSync(path, "utf8")).toBe("before\none\nzw\u00f6lf\n");
  await sink.close();
});

test("closing writes what is left, also what came during a write", async () => {
  const path = join(folder, "access.log");
  const sink = new FileSink(path);
  const line = `${"x".repeat(999)}\n`;
  for (let n = 0; n < 1000; n++) sink.write(line);
  await sink.close();
  expect(readFileSync(path, "utf8").length).toBe(1_000_000);
  expect(sink.dropped).toBe(0);
});

test("after reopen() lines go to a new file", async () => {
  const path = join(folder, "access.log");
  const sinks = new LogSinks();
  sinks.sink(path).write("old\n");
  await expect.poll(() => readFileSync(path, "utf8")).toBe("old\n");
  renameSync(path, `${path}.1`);
  await sinks.reopen();
  sinks.sink(path).write("new\n");
  await sinks.close();
  expect(readFileSync(path, "utf8")).toBe("new\n");
  expect(readFileSync(`${path}.1`, "utf8")).toBe("old\n");
});

test("reopen() is done when what was being written to the file of before is in there", async () => {
  // Nothing can be written to a pipe before somebody reads from it.
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  const sink = new FileSink(path);
  const old = `${"x".repeat(100_000)}\n`;
  sink.write(old);
  let isDone = false;
  const reopened = (async () => {
    await sink.reopen();
    isDone = true;
  })();
  await setImmediate();
  expect(isDone).toBe(false);
  // It ends when the sink has let go of it.
  expect(await readFile(path, "utf8")).toBe(old);
  await reopened;
  await sink.close();
});

test("what does not fit into memory is dropped and counted", async () => {
  const sinks = new LogSinks();
  const sink = sinks.sink(join(folder, "access.log"));
  const line = `${"x".repeat(1024 * 1024 - 1)}\n`;
  for (let n = 0; n < 10; n++) sink.write(line);
  expect(sinks.dropped).toBe(6);
  await sinks.close();
});

test("a file that cannot be opened loses its lines and nothing else", async () => {
  const sink = new FileSink(join(folder, "not-there", "access.log"));
  sink.write("one\n");
  sink.write("two\n");
  await sink.close();
  expect(sink.dropped).toBe(2);
});
