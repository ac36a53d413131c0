import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { run } from "../support/processes.ts";
import { wrk } from "../support/tools.ts";
import { answerBytes, type LoadCase, SERVER_NAME, wrkScript } from "./cases.ts";
import { type Counted, portOf, type Target } from "./target.ts";

const BYTES = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 } as const;
const MS = { us: 0.001, ms: 1, s: 1000 } as const;

/** HTTP/1.1 by wrk, as fast as it is answered. Throws if an answer is not 2xx or a connection broke, or bodies were too short. */
export async function wrkLoad(target: Target, load: LoadCase, seconds: number, dir: string): Promise<Counted> {
  const tool = await wrk();
  const script = join(dir, `${load.id}.lua`);
  await writeFile(script, wrkScript(load));
  const url = `${load.tls === undefined ? "http" : "https"}://${SERVER_NAME}:${portOf(target, load)}/`;
  const args = ["-t1", `-c${load.connections}`, `-d${seconds}s`, "--timeout", "10s", "--latency", "-s", script, url];
  const { stdout, stderr } = await run(tool.path, args, { env: tool.env });
  const [, requests = "0", read = "0", unit = ""] =
    /(\d+) requests in [^,]+, ([\d.]+)([KMG]?)B read/.exec(stdout) ?? [];
  const bytes = Number(read) * BYTES[unit as keyof typeof BYTES];
  // wrk rounds what it read.
  const short = bytes < Number(requests) * answerBytes[load.answer] * 0.99;
  // A server that closes after its answer looks like an error of reading to wrk, but only where it did so before the whole answer.
  if (Number(requests) === 0 || short || /Non-2xx|Socket errors/.test(stdout)) {
    throw new Error(`${target.name}, ${load.id}: ${stdout}${stderr}`);
  }
  const [, p99, p99Unit = "s"] = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
  return {
    requests: Number(requests),
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
    p99Ms: Number(p99) * MS[p99Unit as keyof typeof MS],
  };
}
