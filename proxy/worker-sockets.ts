import type { ListeningSocket } from "./listen/listener.ts";

/**
 * The inherited sockets that fall to one of `count` workers. Those of each address are dealt out in turn, so that each worker gets one of each
 * as far as there are enough, and all of them somebody's: a socket that nobody accepts on leaves its clients waiting.
 */
export function shareOf(sockets: readonly ListeningSocket[], worker: number, count: number): ListeningSocket[] {
  const seen = new Map<string, number>();
  return sockets.filter(({ address, port }) => {
    const key = `${address} ${port}`;
    const turn = seen.get(key) ?? 0;
    seen.set(key, turn + 1);
    return turn % count === worker;
  });
}
