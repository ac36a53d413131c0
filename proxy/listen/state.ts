import type { Counter, ListenerStats, Runtime } from "./context.ts";
import type { Crowd } from "./crowd.ts";
import type { FilterChainOptions } from "./options.ts";

/** A filter chain of a listener at work, as its connections see it. A chain that changes is another one; this one then drains. */
export interface ListenerState {
  readonly options: FilterChainOptions;
  readonly runtime: Runtime;
  readonly stats: ListenerStats;
  /** Counters of responses by first digit of the status. */
  readonly byClass: readonly (Counter | undefined)[];
  /** Which connections should go to other workers; undefined: there are none. */
  readonly crowd?: Crowd | undefined;
  /** The port it is bound to. */
  port: number;
  /** Responses say `connection: close`, and idle connections are closed. */
  draining: boolean;
  /** How long a connection must have been idle to be closed while draining, in ms; undefined: a second. */
  drainIdleMs?: number | undefined;
  /**
   * Whether a request for a host came on the wrong connection: TLS's server_name led to this chain, and the host as server_name would have
   * led to another one, which may ask for other credentials (RFC 9110, 7.4). Undefined: no server_name decides anything here.
   */
  misdirects?: ((host: string) => boolean) | undefined;
}
