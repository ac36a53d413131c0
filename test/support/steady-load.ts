import { randomUUID } from "node:crypto";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { type Ask, ask } from "./http.ts";
import type { Echo } from "./upstream.ts";

/** Requests that go on in the background, each checked for being answered by the echo of itself. */
export interface SteadyLoad {
  /** Answered so far. */
  readonly answered: number;
  /** What went wrong and how long after the start, at most some dozens. */
  readonly failures: readonly string[];
  /** Ends it; resolves when the last request is done. */
  stop(): Promise<void>;
}

const FAILURES_MAX = 50;

/**
 * `clients` at a time ask the echoing upstream behind `port`, on connections that are kept, as fast as they are answered or with a pause
 * between. `more` makes each request, beside its id.
 */
export function startSteadyLoad(
  port: number,
  clients: number,
  more: () => Ask = () => ({}),
  { pauseMs = 0 } = {},
): SteadyLoad {
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients });
  const failures: string[] = [];
  let answered = 0;
  let stopped = false;
  const startMs = performance.now();
  const fail = (text: string) => {
    const afterS = (performance.now() - startMs) / 1000;
    if (failures.length < FAILURES_MAX) failures.push(`${afterS.toFixed(2)} s: ${text}`);
  };
  const client = async () => {
    while (!stopped) {
      const id = randomUUID();
      const request = more();
      const path = `/echo/${id}`;
      try {
        const headers = { host: "a.test", "x-id": id, ...request.headers };
        const answer = await ask(port, { path, agent, ...request, headers });
        if (answer.status !== 200) fail(`${id}: ${answer.status} "${answer.body}"`);
        else {
          const echo = JSON.parse(answer.body) as Echo;
          if (echo.path !== path || echo.headers["x-id"] !== id)
            fail(`${id} got the answer to ${echo.headers["x-id"]}`);
          if (echo.bodyLength !== (request.body?.length ?? 0))
            fail(`${id}: its body arrived as ${echo.bodyLength} bytes`);
        }
        answered++;
      } catch (error) {
        fail(`${id}: ${String(error)}`);
      }
      if (pauseMs > 0) await sleep(pauseMs);
    }
  };
  const running = Array.from({ length: clients }, client);
  return {
    get answered() {
      return answered;
    },
    failures,
    async stop() {
      stopped = true;
      await Promise.all(running);
      agent.destroy();
    },
  };
}
