import {
  type Cluster,
  Cluster_DiscoveryType as DiscoveryType,
  Cluster_DnsLookupFamily as DnsLookupFamily,
  Cluster_LbPolicy as LbPolicy,
  Cluster_RingHashLbConfig_HashFunction as HashFunction,
} from "#envoy/config/cluster/v3/cluster_pb.ts";
import { RoutingPriority } from "#envoy/config/core/v3/base_pb.ts";

import { type Compiled, durationMs, Place } from "../compile.ts";
import { type Assignment, compileAssignment, NO_ENDPOINTS } from "./assignment.ts";
import { leastRequest } from "./balance/least-request.ts";
import { maglev } from "./balance/maglev.ts";
import { random } from "./balance/random.ts";
import { ringHash } from "./balance/ring-hash.ts";
import { roundRobin } from "./balance/round-robin.ts";
import { breakersOf } from "./breakers.ts";
import type { Breakers, ClusterSettings } from "./cluster.ts";
import type { HostSetOptions } from "./host-set.ts";
import { compileProtocolOptions } from "./protocol-options.ts";
import { compileTransportSockets } from "./tls.ts";

/** Envoy's defaults (proxy-parity 3.8, 3.9 and part 4). */
const CONNECT_TIMEOUT_MS_DEFAULT = 5_000;
const DNS_REFRESH_MS_DEFAULT = 5_000;
const PANIC_THRESHOLD_DEFAULT = 50;
const RING_SIZE_MIN_DEFAULT = 1024;
const RING_SIZE_MAX = 8 * 1024 * 1024;
const MAGLEV_TABLE_SIZE_DEFAULT = 65_537;
const MAGLEV_TABLE_SIZE_MAX = 5_000_011;

/** How a DNS cluster looks its names up. */
export interface DnsOptions {
  readonly refreshMs: number;
  /** Whether the answer's time to live takes the place of `refreshMs`. */
  readonly respectTtl: boolean;
  readonly family: "auto" | "v4-only" | "v6-only" | "v4-preferred" | "all";
  /** LOGICAL_DNS: only the first address is used. */
  readonly firstOnly: boolean;
}

/** Where a cluster's endpoints come from. */
export type Discovery =
  | { readonly kind: "eds"; readonly serviceName: string }
  | { readonly kind: "static"; readonly assignment: Assignment }
  | { readonly kind: "dns"; readonly assignment: Assignment; readonly dns: DnsOptions };

/** A Cluster message made ready for use. Immutable. */
export interface ClusterConfig {
  readonly name: string;
  readonly settings: ClusterSettings;
  readonly discovery: Discovery;
  readonly balance: Omit<HostSetOptions, "overprovisioningFactor">;
  /** Percent, 0: no panic. */
  readonly panicThreshold: number;
}

/** Compiles a Cluster; problems carry field paths from its root. */
export function compileCluster(message: Cluster): Compiled<ClusterConfig> {
  const place = Place.root();
  if (message.name === "") place.field("name").refuse("must not be empty");
  const connectTimeoutMs = durationMs(message.connectTimeout, CONNECT_TIMEOUT_MS_DEFAULT);
  if (connectTimeoutMs <= 0) place.field("connect_timeout").refuse("must be greater than 0");
  const { sni, ...protocol } = compileProtocolOptions(message, place);
  const sockets = compileTransportSockets(message, sni, place);
  checkLoadServer(message, place);
  // As in Envoy: what can't choose by ALPN would never get to speak HTTP/2.
  if (protocol.protocol === "auto" && sockets.tlsMatches?.some(({ tls }) => tls === undefined) === true) {
    place.field("transport_socket_matches").refuse("must all be TLS, whose ALPN decides on the protocol (auto_config)");
  }
  return place.result({
    name: message.name,
    settings: {
      statName: statNameOf(message),
      connectTimeoutMs,
      ...sockets,
      breakers: compileBreakers(message, RoutingPriority.DEFAULT),
      highBreakers: compileBreakers(message, RoutingPriority.HIGH),
      ...protocol,
      tcpKeepaliveMs: compileTcpKeepalive(message, place),
    },
    discovery: compileDiscovery(message, place),
    balance: {
      ...compileBalance(message, place),
      localityWeighted: message.commonLbConfig?.localityConfigSpecifier.case === "localityWeightedLbConfig",
    },
    panicThreshold: message.commonLbConfig?.healthyPanicThreshold?.value ?? PANIC_THRESHOLD_DEFAULT,
  });
}

/** What statistics, logs and traces call a cluster. */
export const statNameOf = ({ name, altStatName }: Pick<Cluster, "name" | "altStatName">): string => altStatName || name;

/** Of several thresholds for a priority the first counts, as in Envoy. */
const compileBreakers = ({ circuitBreakers }: Cluster, wanted: RoutingPriority): Breakers =>
  breakersOf(circuitBreakers?.thresholds.find(({ priority }) => priority === wanted));

/** Seconds before the first probe where only the probes themselves are configured: Linux' own default. */
const KEEPALIVE_TIME_S_DEFAULT = 7200;

/** Loads are reported to the control plane (xds/load-reports.ts), and to nobody else. */
function checkLoadServer({ lrsServer }: Cluster, place: Place): void {
  const source = lrsServer?.configSourceSpecifier.case;
  if (lrsServer !== undefined && source !== "self") place.field("lrs_server").refuse("only self is supported");
}

function compileTcpKeepalive({ upstreamConnectionOptions }: Cluster, place: Place): number | undefined {
  const keepalive = upstreamConnectionOptions?.tcpKeepalive;
  if (keepalive === undefined) return undefined;
  const at = place.field("upstream_connection_options").field("tcp_keepalive");
  // Node sets the time before the first probe, and leaves the rest to the system.
  if (keepalive.keepaliveProbes !== undefined) at.field("keepalive_probes").refuse("not supported");
  if (keepalive.keepaliveInterval !== undefined) at.field("keepalive_interval").refuse("not supported");
  return (keepalive.keepaliveTime ?? KEEPALIVE_TIME_S_DEFAULT) * 1000;
}

function compileDiscovery(message: Cluster, place: Place): Discovery {
  const type = message.clusterDiscoveryType.case === "type" ? message.clusterDiscoveryType.value : DiscoveryType.STATIC;
  if (message.clusterDiscoveryType.case === "clusterType") place.field("cluster_type").refuse("not supported");
  switch (type) {
    case DiscoveryType.EDS:
      return compileEds(message, place);
    case DiscoveryType.STATIC:
      return { kind: "static", assignment: compileInline(message, false, place) };
    case DiscoveryType.STRICT_DNS:
    case DiscoveryType.LOGICAL_DNS:
      return compileDns(message, type === DiscoveryType.LOGICAL_DNS, place);
    default:
      place.field("type").refuse("only STATIC, STRICT_DNS, LOGICAL_DNS and EDS are supported");
      return { kind: "static", assignment: NO_ENDPOINTS };
  }
}

function compileEds(message: Cluster, place: Place): Discovery {
  const eds = message.edsClusterConfig;
  const source = eds?.edsConfig?.configSourceSpecifier.case;
  if (source !== "ads" && source !== "self") {
    place.field("eds_cluster_config").field("eds_config").refuse("only ads is supported");
  }
  return { kind: "eds", serviceName: eds?.serviceName || message.name };
}

function compileDns(message: Cluster, firstOnly: boolean, place: Place): Discovery {
  const assignment = compileInline(message, true, place);
  const count = assignment.localities.reduce((sum, { endpoints }) => sum + endpoints.length, 0);
  if (firstOnly && count !== 1) {
    place.field("load_assignment").refuse(`LOGICAL_DNS takes exactly one endpoint, there are ${count}`);
  }
  const refreshMs = durationMs(message.dnsRefreshRate, DNS_REFRESH_MS_DEFAULT);
  if (refreshMs <= 1) place.field("dns_refresh_rate").refuse("must be more than 1 ms");
  const family = families[message.dnsLookupFamily];
  if (family === undefined) place.field("dns_lookup_family").refuse("unknown value");
  return {
    kind: "dns",
    assignment,
    dns: { refreshMs, respectTtl: message.respectDnsTtl, family: family ?? "auto", firstOnly },
  };
}

const families: Readonly<Record<DnsLookupFamily, DnsOptions["family"]>> = {
  [DnsLookupFamily.AUTO]: "auto",
  [DnsLookupFamily.V4_ONLY]: "v4-only",
  [DnsLookupFamily.V6_ONLY]: "v6-only",
  [DnsLookupFamily.V4_PREFERRED]: "v4-preferred",
  [DnsLookupFamily.ALL]: "all",
};

function compileInline(message: Cluster, names: boolean, place: Place): Assignment {
  const at = place.field("load_assignment");
  if (message.loadAssignment === undefined) {
    at.refuse("must be set for this type of cluster");
    return NO_ENDPOINTS;
  }
  const compiled = compileAssignment(message.loadAssignment, names, at);
  return compiled.ok ? compiled.value : NO_ENDPOINTS;
}

function compileBalance(message: Cluster, place: Place): Pick<HostSetOptions, "make" | "hashing"> {
  const config = message.lbConfig;
  const expected = configOf[message.lbPolicy];
  if (config.case !== undefined && config.case !== expected) {
    place.refuse(`the settings ${config.case} are not those of the lb_policy`);
  }
  switch (message.lbPolicy) {
    case LbPolicy.ROUND_ROBIN:
      return { make: roundRobin, hashing: false };
    case LbPolicy.RANDOM:
      return { make: random, hashing: false };
    case LbPolicy.LEAST_REQUEST: {
      const choiceCount = config.case === "leastRequestLbConfig" ? (config.value.choiceCount ?? 2) : 2;
      // Two is what Envoy's constraint asks for, and more than a few are a full scan by another name.
      if (choiceCount < 2 || choiceCount > 100) {
        place.field("least_request_lb_config").field("choice_count").refuse("must be within [2, 100]");
      }
      return { make: leastRequest(choiceCount), hashing: false };
    }
    case LbPolicy.RING_HASH:
      return compileRingHash(config.case === "ringHashLbConfig" ? config.value : undefined, place);
    case LbPolicy.MAGLEV:
      return compileMaglev(config.case === "maglevLbConfig" ? config.value : undefined, place);
    default:
      place.field("lb_policy").refuse("only ROUND_ROBIN, LEAST_REQUEST, RING_HASH, MAGLEV and RANDOM are supported");
      return { make: roundRobin, hashing: false };
  }
}

const configOf: Partial<Record<LbPolicy, Cluster["lbConfig"]["case"]>> = {
  [LbPolicy.ROUND_ROBIN]: "roundRobinLbConfig",
  [LbPolicy.LEAST_REQUEST]: "leastRequestLbConfig",
  [LbPolicy.RING_HASH]: "ringHashLbConfig",
  [LbPolicy.MAGLEV]: "maglevLbConfig",
};

function compileMaglev(
  config: Extract<Cluster["lbConfig"], { case: "maglevLbConfig" }>["value"] | undefined,
  place: Place,
): Pick<HostSetOptions, "make" | "hashing"> {
  const tableSize = Number(config?.tableSize ?? MAGLEV_TABLE_SIZE_DEFAULT);
  // Only where it is a prime does every endpoint's permutation reach all of the table.
  if (!isPrime(tableSize) || tableSize > MAGLEV_TABLE_SIZE_MAX) {
    place.field("maglev_lb_config").field("table_size").refuse(`must be a prime of at most ${MAGLEV_TABLE_SIZE_MAX}`);
    return { make: roundRobin, hashing: true };
  }
  return { make: maglev(tableSize), hashing: true };
}

function isPrime(number: number): boolean {
  for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) return false;
  return number >= 2;
}

function compileRingHash(
  config: Extract<Cluster["lbConfig"], { case: "ringHashLbConfig" }>["value"] | undefined,
  place: Place,
): Pick<HostSetOptions, "make" | "hashing"> {
  const at = place.field("ring_hash_lb_config");
  const minimumRingSize = Number(config?.minimumRingSize ?? RING_SIZE_MIN_DEFAULT);
  const maximumRingSize = Number(config?.maximumRingSize ?? RING_SIZE_MAX);
  if (config !== undefined && config.hashFunction !== HashFunction.XX_HASH) {
    at.field("hash_function").refuse("only XX_HASH is supported");
  }
  if (maximumRingSize > RING_SIZE_MAX || minimumRingSize > maximumRingSize || minimumRingSize < 1) {
    at.refuse(`minimum_ring_size must be within [1, maximum_ring_size], and that at most ${RING_SIZE_MAX}`);
  }
  return { make: ringHash({ minimumRingSize, maximumRingSize }), hashing: true };
}
