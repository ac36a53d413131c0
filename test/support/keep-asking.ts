import { Agent, get } from "node:http";

/** What became of the requests of {@link keepAsking}. */
export interface Asked {
  /** Stops, and resolves when the last answer is there. */
  stop(): Promise<void>;
  readonly answered: number;
  /** What went wrong, one text per failed request; it says so where the connection had served one before. */
  readonly failures: readonly string[];
}

/**
 * Sends requests one after the other on so many connections at once, kept alive, or on a new connection each, until it is stopped. Each answer must be 200.
 * It tries nothing twice, so that nothing that was lost is hidden.
 */
export function keepAsking(port: number, { connections = 8, keepAlive = true, host = "a.test" } = {}): Asked {
  const agent = new Agent({ keepAlive, maxSockets: connections });
  const failures: string[] = [];
  let answered = 0;
  let stopping = false;
  const once = () =>
    new Promise<void>((resolve) => {
      const fail = (reason: string) => {
        failures.push(reason);
        resolve();
      };
      const request = get({ host: "127.0.0.1", port, agent, headers: { host } }, (response) => {
        response
          .on("error", (error) => fail(error.message))
          .on("end", () => {
            if (response.statusCode === 200) answered++;
            else return fail(String(response.statusCode));
            resolve();
          });
        response.resume();
      });
      request.on("error", ({ message }) => fail(request.reusedSocket ? `${message} on a kept connection` : message));
    });
  const loops = Array.from({ length: connections }, async () => {
    while (!stopping) await once();
  });
  return {
    async stop() {
      stopping = true;
      await Promise.all(loops);
      agent.destroy();
    },
    get answered() {
      return answered;
    },
    failures,
  };
}
