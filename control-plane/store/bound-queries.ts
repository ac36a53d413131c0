import type pg from "pg";

/**
 * Makes a connection of a pool give up when a statement gets no answer for so long, which must be longer than the server's own
 * statement_timeout, since that tells more. A server that hangs, or whose machine went without a word, is otherwise waited for until TCP gives up,
 * some 15 minutes, and so is whatever queues behind. (The driver's own `query_timeout` leaves the dead connection in the pool.)
 */
export function boundQueries(client: pg.PoolClient, msMax: number): void {
  const ask: (...given: unknown[]) => unknown = client.query.bind(client);
  const bounded = (...given: unknown[]) => {
    const answer = ask(...given);
    // What Kysely calls; with callbacks, or cursors, nothing of ours does.
    if (!(answer instanceof Promise)) return answer;
    const timer = setTimeout(() => {
      const error = new Error(`no answer within ${msMax / 1000} s`);
      client.connection.stream.destroy(Object.assign(error, { code: "ETIMEDOUT" }));
    }, msMax);
    return answer.finally(() => clearTimeout(timer));
  };
  Object.assign(client, { query: bounded });
}
