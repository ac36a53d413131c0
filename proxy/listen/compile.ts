import { create } from "@bufbuild/protobuf";

import { TrafficDirection } from "#envoy/config/core/v3/base_pb.ts";
import { type FilterChain, FilterChainMatchSchema } from "#envoy/config/listener/v3/listener_components_pb.ts";
import { type Listener, Listener_DrainType as DrainType } from "#envoy/config/listener/v3/listener_pb.ts";

import { compileSocketAddress } from "../cluster/assignment.ts";
import { type Compiled, Place } from "../compile.ts";
import type { LogSinks } from "../observe/file-sink.ts";
import { ChainTable } from "./chain-match.ts";
import { compileChain } from "./compile-chain.ts";
import { compileInspection } from "./compile-inspection.ts";
import type { FilterChainOptions, ListenerOptions } from "./options.ts";
import { ownNumbers } from "./own-metadata.ts";

/**
 * As Envoy's on Linux: net.core.somaxconn, at which the kernel cuts what is more. With Node's own 511, clients that all came at once (after
 * a restart, say) overflowed the queue, and waited for seconds for the kernel to try again.
 */
const BACKLOG_DEFAULT = 65_535;

/** Compiles a Listener; problems carry field paths from its root. Access logs write to sinks of `sinks`, opened at the first line. */
export function compileListener(message: Listener, sinks: LogSinks): Compiled<ListenerOptions> {
  const place = Place.root();
  const socket = compileSocketAddress(message.address, false, place.field("address"));
  const additionalAddresses = message.additionalAddresses.flatMap(
    ({ address }, index) =>
      compileSocketAddress(address, false, place.item("additional_addresses", index).field("address")) ?? [],
  );
  if (message.enableReusePort === false) {
    place.field("enable_reuse_port").refuse("only true is supported: each worker has a listening socket of its own");
  }
  const { filterChains, defaultFilterChain: otherwise, trafficDirection } = message;
  if (filterChains.length === 0 && otherwise === undefined) {
    place.field("filter_chains").refuse("at least one filter chain, or default_filter_chain, must be set");
  }
  const table = new ChainTable<FilterChainOptions>();
  const chains = filterChains.flatMap((chain, index) => {
    const at = place.item("filter_chains", index);
    const compiled = compileChain(chain, sinks, at);
    if (compiled === undefined) return [];
    table.add(chain.filterChainMatch ?? create(FilterChainMatchSchema), compiled, at);
    return [compiled];
  });
  const defaultAt = place.field("default_filter_chain");
  if (otherwise?.filterChainMatch !== undefined) defaultAt.field("filter_chain_match").refuse("has no use here");
  const defaultChain = otherwise && compileChain(otherwise, sinks, defaultAt);
  const all = defaultChain === undefined ? chains : [...chains, defaultChain];
  // Spans of OUTBOUND listeners would be those of a client.
  if (trafficDirection === TrafficDirection.OUTBOUND && all.some(({ http }) => http.tracing !== undefined)) {
    place.field("traffic_direction").refuse("OUTBOUND is not supported together with tracing");
  }
  const limits = ownNumbers(message.metadata, "sluice.connections", ["max", "max_per_address"], place);
  const takesAll = all.length === 1 && !filterChains.some(hasMatch);
  return place.result({
    name: message.name,
    ...(socket ?? { address: "", port: 0 }),
    additionalAddresses,
    backlog: message.tcpBacklogSize ?? BACKLOG_DEFAULT,
    statPrefix: message.statPrefix,
    drainsWithHealth: message.drainType === DrainType.DEFAULT,
    connectionsMax: limits.max,
    connectionsPerAddressMax: limits.max_per_address,
    chains: all,
    table: takesAll ? undefined : table,
    defaultChain,
    inspection: compileInspection(message, all, place),
  });
}

/** Whether some connections don't fit a chain. */
const hasMatch = ({ filterChainMatch: match }: FilterChain): boolean =>
  match !== undefined && JSON.stringify(match) !== JSON.stringify(create(FilterChainMatchSchema));
