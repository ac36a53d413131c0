import { join } from "node:path";

import { run } from "../support/processes.ts";
import { goPrograms } from "../support/tools.ts";
import { cases, pathOf, SERVER_NAME } from "./cases.ts";
import { cpuSeconds } from "./cpu.ts";
import { load } from "./load.ts";
import { median, table } from "./table.ts";
import type { Target } from "./target.ts";

const CONNECTIONS = 64;
/** Of the rate that a target reaches when it is asked as fast as it answers. */
const SHARE = 0.7;

/**
 * How long answers take when a target is asked at 70 % of the rate that it reaches by itself, counted from when each request was due; and the native
 * proxy at Envoy's rate besides, since at several times that the generator and the origin want the processors, too. Returns a table.
 */
export async function benchOpenLoop(targets: readonly Target[], seconds: number, dir: string): Promise<string> {
  const rows: string[][] = [];
  const closed = cases.find(({ id }) => id === "get-64");
  if (closed === undefined) throw new Error("no case get-64");
  const rates = new Map<string, number>();
  for (const target of targets) {
    const limits: number[] = [];
    for (let round = 0; round < 3; round++) limits.push((await load(target, closed, seconds, dir)).requestsPerSecond);
    const perSecond = Math.floor(median(limits) * SHARE);
    rates.set(target.name, perSecond);
    rows.push(await measure(target, target.name, perSecond, seconds));
  }
  const [native, envoysRate] = [targets.find(({ name }) => name === "native"), rates.get("envoy")];
  if (native !== undefined && envoysRate !== undefined) {
    rows.push(await measure(native, "native, at Envoy's rate", envoysRate, seconds));
  }
  return table(["proxy", "70 %: requests/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs/request"], rows);
}

/** A row of the table: a target at so many requests a second. */
async function measure(target: Target, title: string, perSecond: number, seconds: number): Promise<string[]> {
  const before = cpuSeconds(target.pid);
  const { requests, p50Ms, p99Ms, p999Ms } = await ask(target, perSecond, seconds * 2);
  const cpuMicros = ((cpuSeconds(target.pid) - before) / requests) * 1e6;
  const latencies = [p50Ms, p99Ms, p999Ms].map((ms) => ms.toFixed(2));
  return [title, perSecond.toFixed(0), ...latencies, cpuMicros.toFixed(1)];
}

/** What the generator answers. */
interface Latencies {
  readonly requests: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

/** By a program in Go (test/load/open-loop), which costs little beside the servers: one in Node was the limit itself, and its garbage the tail. */
async function ask(target: Target, perSecond: number, seconds: number): Promise<Latencies> {
  const generator = join(await goPrograms("open-loop", join(import.meta.dirname, "open-loop")), "generator");
  const head = `GET ${pathOf(3, { answer: "small" })} HTTP/1.1\r\nHost: ${SERVER_NAME}\r\n`;
  const order = {
    ...{ address: `127.0.0.1:${target.ports.plain}`, connections: CONNECTIONS, perSecond, seconds },
    request: `${head}User-Agent: bench\r\nAccept: */*\r\n\r\n`,
    answerEnd: "hello from the upstream\n",
  };
  const { code, stdout, stderr } = await run(generator, [JSON.stringify(order)]);
  if (code !== 0) throw new Error(`${target.name}: ${stderr}`);
  return JSON.parse(stdout) as Latencies;
}
