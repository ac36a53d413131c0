import type { TlsSettings } from "../tls.ts";

/** How fresh answers must be (https://developer.hashicorp.com/consul/api-docs/features/consistency). */
export type Consistency = "default" | "stale" | "consistent";

/**
 * Half of what Consul allows to one client address (limits.http_max_conns_per_client, 200 by default): others may share the address.
 */
export const CONNECTIONS_MAX_DEFAULT = 100;

/** How a Consul is reached and asked. */
export interface ConsulSettings {
  /** Agents or servers of one cluster, "http://host:8500"; the next one is asked when one doesn't answer. At least one. */
  readonly addresses: readonly string[];
  /** For services that name none; the agent's own if this is empty too. */
  readonly datacenter?: string | undefined;
  /** Consul Enterprise. */
  readonly namespace?: string | undefined;
  /** Consul Enterprise. */
  readonly partition?: string | undefined;
  readonly token?: string | undefined;
  readonly consistency?: Consistency | undefined;
  /** Lets the agent answer from its cache (`?cached`). */
  readonly cached?: boolean | undefined;
  /** A filter expression (`?filter`) that instances must fulfil. */
  readonly filter?: string | undefined;
  /** Whether instances with a warning get no traffic. Default: false, as Consul's DNS does. */
  readonly passingOnly?: boolean | undefined;
  readonly tls?: TlsSettings | undefined;
  /** How many connections may be open at once. Default: 100. */
  readonly connectionsMax?: number | undefined;
}
