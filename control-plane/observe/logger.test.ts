import { join } from "node:path";

import { expect, test } from "vitest";

import { logWithoutRoom } from "../../test/support/full-disk.ts";

test("a log on a full disk ends nothing, and goes on when there is room", async () => {
  const logged = await logWithoutRoom(join(import.meta.dirname, "logger.ts"), "info");
  // The first of those that waited, and the last of all.
  expect(logged).toContain('"line":0,');
  expect(logged.trim().split("\n").at(-1)).toContain("there is room");
}, 120_000);
