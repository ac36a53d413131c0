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

/** A script for {@link startWrk}: every so manieth request is a POST with a body, the others are GETs. */
export const postEvery = (nth: number, bodyBytes: number): string => `
local get, post
function init(args)
  get = wrk.format("GET")
  post = wrk.format("POST", nil, nil, string.rep("b", ${bodyBytes}))
end
local n = 0
function request()
  n = n + 1
  return n % ${nth} == 0 and post or get
end
`;

/** Starts wrk, which asks as fast as it is answered, on connections that are kept; `stop` ends it. `script`: a file that makes the requests. */
export async function startWrk(port: number, host: string, connections: number, script?: string) {
  const { path, env } = await wrk();
  const args = ["-t1", `-c${connections}`, "-d3600s", "--timeout", "60s", "-H", `Host: ${host}`];
  if (script !== undefined) args.push("-s", script);
  const startedAt = performance.now();
  const program = new Program(path, [...args, `http://127.0.0.1:${port}/`], { env });
  return {
    async stop(): Promise<WrkResult> {
      if (program.exited) throw new Error(`wrk ended by itself: ${program.stdout}${program.stderr}`);
      const closed = once(program.child, "close");
      program.child.kill("SIGINT");
      const force = setTimeout(() => program.child.kill("SIGKILL"), 15_000);
      await closed;
      clearTimeout(force);
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
