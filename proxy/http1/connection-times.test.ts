import { expect, test } from "vitest";

import { DataPath } from "../../test/support/data-path.ts";
import type { ListenerState } from "../listen/state.ts";
import { ConnectionTimes } from "./connection-times.ts";

/** Times of a connection that has just been opened, and had its last stream then. */
async function opened() {
  await using path = await DataPath.start({});
  const [options] = path.options().chains;
  if (options === undefined) throw new Error("no filter chain");
  const { stats: all, runtime } = path;
  const state: ListenerState = { options, runtime, stats: all.listener(), byClass: [], port: 0, draining: true };
  return new ConnectionTimes(state);
}

test("an HTTP/2 connection whose listener drains has a second first, whether it has a request or not", async () => {
  const times = await opened();
  const at = (ms: number) => times.openedAt + ms;
  expect(times.checkLeaving(false, at(0))).toBeCloseTo(1_000);
  expect(times.checkLeaving(true, at(400))).toBeCloseTo(600);
  expect(times.checkLeaving(false, at(999))).toBeCloseTo(1);
  expect(times.checkLeaving(false, at(1_001))).toBeLessThanOrEqual(0);
});

test("later it is sent away with its next request, or when it has been idle for a second", async () => {
  const times = await opened();
  const at = (ms: number) => times.openedAt + ms;
  times.idleSince = at(5_000);
  expect(times.checkLeaving(false, at(5_001))).toBeLessThanOrEqual(0);
  expect(times.checkLeaving(true, at(5_001))).toBeCloseTo(999);
  expect(times.checkLeaving(true, at(6_001))).toBeLessThanOrEqual(0);
});
