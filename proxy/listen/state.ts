import type { Counter, ListenerStats, Runtime } from "./context.ts";
import type { ListenerOptions } from "./options.ts";

/** A listener at work, as its connections see it. `options` is replaced by updates; each request keeps those that it began with. */
export interface ListenerState {
  options: ListenerOptions;
  readonly runtime: Runtime;
  readonly stats: ListenerStats;
  /** Counters of responses by first digit of the status. */
  readonly byClass: readonly (Counter | undefined)[];
  /** The port it is bound to. */
  port: number;
  /** Responses say `connection: close`, and idle connections are closed. */
  draining: boolean;
}
