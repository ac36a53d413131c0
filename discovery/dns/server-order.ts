import type { DnsServer } from "./query.ts";

/** For so long a server that gave no answer is asked after the others. */
const LAST_MS = 30_000;

/** In which order to ask name servers: as they are given, and last those that lately gave no answer, each of which costs seconds. */
export class ServerOrder {
  /** By "host port", since when: on the clock of performance.now(). As many as there are servers in a registry's settings or the machine's. */
  readonly #silentMs = new Map<string, number>();

  of(servers: readonly DnsServer[]): readonly DnsServer[] {
    if (this.#silentMs.size === 0) return servers;
    const { silent = [], heard = [] } = Object.groupBy(servers, (each) => (this.#isSilent(each) ? "silent" : "heard"));
    return [...heard, ...silent];
  }

  /** The server gave an answer, of whatever kind, or none. */
  note(server: DnsServer, answered: boolean): void {
    if (answered) this.#silentMs.delete(textOf(server));
    else this.#silentMs.set(textOf(server), performance.now());
  }

  #isSilent(server: DnsServer): boolean {
    const sinceMs = this.#silentMs.get(textOf(server));
    return sinceMs !== undefined && performance.now() - sinceMs < LAST_MS;
  }
}

const textOf = ({ host, port }: DnsServer) => `${host} ${port}`;
