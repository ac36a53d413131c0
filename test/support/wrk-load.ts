import { once } from "node:events";

import { Program } from "./processes.ts";
import { wrk } from "./tools.ts";

/** What came of a {@link startWrk}. */
export interface WrkResult {
  readonly requests: number;
  /** Answers other than 2xx and 3xx. */
  readonly refused: number;
  /** Connections that failed or broke with a request on them. */
  readonly broken: number;
  /** How long it went. */
  readonly seconds: number;
}

/** Starts wrk, which asks as fast as it is answered, on connections that are kept; `stop` ends it. */
export async function startWrk(port: number, host: string, connections: number) {
  const { path, env } = await wrk();
  const args = ["-t1", `-c${connections}`, "-d3600s", "--timeout", "30s", "-H", `Host: ${host}`];
  const startedAt = performance.now();
  const program = new Program(path, [...args, `http://127.0.0.1:${port}/`], { env });
  return {
    async stop(): Promise<WrkResult> {
      const closed = once(program.child, "close");
      program.child.kill("SIGINT");
      await closed;
      const { stdout } = program;
      const errors = /connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)?.slice(1) ?? [];
      const requests = /(\d+) requests in/.exec(stdout)?.[1];
      if (requests === undefined) throw new Error(`wrk: ${stdout}${program.stderr}`);
      return {
        requests: Number(requests),
        refused: Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0),
        broken: errors.reduce((sum, count) => sum + Number(count), 0),
        seconds: (performance.now() - startedAt) / 1000,
      };
    },
  };
}
