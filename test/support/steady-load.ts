import { randomUUID } from "node:crypto";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { type Ask, ask } from "./http.ts";
import { SteadyClients, type SteadyLoad } from "./steady-clients.ts";
import type { Echo } from "./upstream.ts";

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
  const load = new SteadyClients(() => agent.destroy());
  const client = async () => {
    while (!load.stopped) {
      const id = randomUUID();
      const request = more();
      const path = `/echo/${id}`;
      try {
        const headers = { host: "a.test", "x-id": id, ...request.headers };
        const answer = await ask(port, { path, agent, ...request, headers });
        if (answer.status !== 200) load.fail(`${id}: ${answer.status} "${answer.body}"`);
        else {
          const echo = JSON.parse(answer.body) as Echo;
          if (echo.path !== path || echo.headers["x-id"] !== id)
            load.fail(`${id} got the answer to ${echo.headers["x-id"]}`);
          if (echo.bodyLength !== (request.body?.length ?? 0))
            load.fail(`${id}: its body arrived as ${echo.bodyLength} bytes`);
        }
        load.answered++;
      } catch (error) {
        load.fail(`${id}: ${String(error)}`);
      }
      if (pauseMs > 0) await sleep(pauseMs);
    }
  };
  return load.run(clients, client);
}
