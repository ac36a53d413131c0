import { once } from "node:events";
import { Worker } from "node:worker_threads";

import { cases, pathOf, SERVER_NAME } from "./cases.ts";
import { cpuSeconds } from "./cpu.ts";
import { load } from "./load.ts";
import { median, table } from "./table.ts";
import type { Target } from "./target.ts";

/** What the thread that asks gets. */
export interface OpenLoopWish {
  readonly port: number;
  readonly connections: number;
  readonly perSecond: number;
  readonly seconds: number;
  /** The bytes of each request, and the last bytes of each answer. */
  readonly request: string;
  readonly answerEnd: string;
}

const CONNECTIONS = 64;
/** Of the rate that a target reaches when it is asked as fast as it answers. */
const SHARE = 0.7;

/** How long answers take when a target is asked at 70 % of the rate that it reaches by itself, counted from when each request was due. Returns a table. */
export async function benchOpenLoop(targets: readonly Target[], seconds: number, dir: string): Promise<string> {
  const rows: string[][] = [];
  const closed = cases.find(({ id }) => id === "get-64");
  if (closed === undefined) throw new Error("no case get-64");
  for (const target of targets) {
    const limits: number[] = [];
    for (let round = 0; round < 3; round++) limits.push((await load(target, closed, seconds, dir)).requestsPerSecond);
    const perSecond = Math.floor(median(limits) * SHARE);
    const before = cpuSeconds(target.pid);
    const latenciesMs = await ask(target, perSecond, seconds * 2);
    const cpuMicros = ((cpuSeconds(target.pid) - before) / latenciesMs.length) * 1e6;
    const quantile = (share: number) => (latenciesMs[Math.floor(latenciesMs.length * share)] ?? Number.NaN).toFixed(2);
    rows.push([
      ...[target.name, perSecond.toFixed(0), quantile(0.5), quantile(0.99), quantile(0.999), cpuMicros.toFixed(1)],
    ]);
  }
  return table(["proxy", "70 %: requests/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs/request"], rows);
}

async function ask(target: Target, perSecond: number, seconds: number): Promise<Float64Array> {
  const head = `GET ${pathOf(3, { answer: "small" })} HTTP/1.1\r\nHost: ${SERVER_NAME}\r\n`;
  const workerData: OpenLoopWish = {
    ...{ port: target.ports.plain, connections: CONNECTIONS, perSecond, seconds },
    request: `${head}User-Agent: bench\r\nAccept: */*\r\n\r\n`,
    answerEnd: "hello from the upstream\n",
  };
  const worker = new Worker(new URL("./open-loop.worker.ts", import.meta.url), { workerData });
  try {
    // An error in the thread rejects.
    const [latenciesMs] = (await once(worker, "message")) as [Float64Array];
    return latenciesMs;
  } finally {
    await worker.terminate();
  }
}
