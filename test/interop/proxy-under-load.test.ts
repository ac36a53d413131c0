/** Many clients at once: each response belongs to its request. */
import net from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { type ProxyRig, startProxyRig } from "../support/proxy-rig.ts";
import { startSteadyLoad } from "../support/steady-load.ts";

const SEED = Number(process.env["SLUICE_LOAD_SEED"] ?? 20261121);
const PAIRED_REQUESTS = 3_000;
const ABORTED_MIN = 50;

let rig: ProxyRig;

beforeAll(async () => {
  rig = await startProxyRig();
});

afterAll(async () => {
  expect(await rig?.stat("server.worker_crashes")).toBe(0);
  await rig?.stop();
});

/** Whole numbers below a bound, the same for the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test("64 connections with random sizes, delays and aborts: every response belongs to its request", async () => {
  const random = numbers(SEED);
  const load = startSteadyLoad(rig.port, 64, () => {
    const size = [0, 0, 1, 1_000, 70_000][random(5)] as number;
    const headers: Record<string, string> = {
      "x-pad": "p".repeat(random(8_000)),
      "x-test-delay-ms": String(random(4) === 0 ? random(20) : 0),
      ...(random(2) === 0 ? { "transfer-encoding": "chunked" } : { "content-length": String(size) }),
    };
    return size === 0
      ? { headers: { "x-pad": headers["x-pad"] ?? "" } }
      : { method: "POST", headers, body: "b".repeat(size) };
  });
  // Meanwhile others leave at any moment of their exchange.
  let aborted = 0;
  while ((load.answered < PAIRED_REQUESTS || aborted < ABORTED_MIN) && load.failures.length === 0) {
    await new Promise<void>((resolve) => {
      const socket = net.connect(rig.port, "127.0.0.1", () => {
        const all = `POST /abort HTTP/1.1\r\nHost: a.test\r\nX-Test-Length: 100000\r\nContent-Length: 5\r\n\r\nabcde`;
        socket.write(all.slice(0, 1 + random(all.length)));
        setTimeout(() => socket.resetAndDestroy(), random(5));
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve());
    });
    aborted++;
  }
  await load.stop();
  expect(load.failures).toEqual([]);
});
