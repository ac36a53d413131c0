import { afterEach, expect, test } from "vitest";

import { startSuccessor } from "./successor.ts";
import { collectUncaught } from "../test/support/uncaught.ts";

const { execPath } = process;
afterEach(() => {
  process.execPath = execPath;
});

test("a successor that can't even be started, as while the program is exchanged for another version, is told as that", async () => {
  const thrown = collectUncaught();
  process.execPath = "/nowhere/node";
  const estate = { sockets: [], ticketKey: new Uint8Array(48), workers: 1, healthFailed: false, xds: undefined };
  const started: number[] = [];
  const successor = startSuccessor({ ...estate, adminFd: 2, lifeline: undefined }, (pid) => started.push(pid));
  await expect(successor).rejects.toMatchObject({ code: "ENOENT" });
  // That it can't be told anything comes in another turn.
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  expect(thrown).toEqual([]);
  expect(started).toEqual([]);
});
