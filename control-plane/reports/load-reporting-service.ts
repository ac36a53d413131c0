import { durationFromMs } from "@bufbuild/protobuf/wkt";

import {
  LoadReportingService,
  type LoadStatsRequestSchema,
  type LoadStatsResponseSchema,
} from "#envoy/service/load_stats/v3/lrs_pb.ts";
import { servedType } from "#proto/resource-types.ts";

import type { ResourceCache } from "../xds/cache.ts";
import { WILDCARD, type Watcher } from "../xds/interest.ts";
import type { JoinGuard } from "../xds/join.ts";
import { defaultLimits } from "../xds/limits.ts";
import type { PortCall } from "../xds/port-call.ts";
import { type PortService, PortStreams } from "../xds/port-service.ts";
import type { Loads, Shares } from "./loads.ts";
import { NodeStreams } from "./node-streams.ts";

/** How often data planes report, unless told otherwise. */
const INTERVAL_MS_DEFAULT = 10_000;

/** Clusters that are named to one that can't be told to report all. */
const CLUSTERS_MAX = 50_000;

const SENDS_ALL = "envoy.lrs.supports_send_all_clusters";
const CDS = servedType("CDS").typeUrl;

type Call = PortCall<typeof LoadStatsRequestSchema, typeof LoadStatsResponseSchema>;

export interface LoadReportingOptions {
  readonly loads: Loads;
  readonly cache: ResourceCache;
  readonly join: JoinGuard;
  readonly intervalMs?: number;
}

/** The load reporting service (LRS) of the xDS port: every data plane is asked for all clusters of its gateway group (L1). */
export function loadReportingService({
  loads,
  cache,
  join,
  intervalMs = INTERVAL_MS_DEFAULT,
}: LoadReportingOptions): PortService {
  const nodes = new NodeStreams(join);
  const ask = (call: Call, clusters: readonly string[] | "all") => {
    const names = clusters === "all" ? [] : [...clusters];
    const loadReportingInterval = durationFromMs(intervalMs);
    call.send({ clusters: names, sendAllClusters: clusters === "all", loadReportingInterval });
  };

  const { streamLoadStats } = LoadReportingService.method;
  const streams = new PortStreams(streamLoadStats, defaultLimits.streamsMax, (call) => {
    const shares: Shares = [];
    let stopNaming: (() => void) | undefined;
    let asked = false;
    nodes.enter(call);
    return {
      message({ node, clusterStats }) {
        const identity = nodes.identify(call, node);
        if (identity === undefined) return;
        const { gatewayGroup } = identity;
        loads.report(gatewayGroup, clusterStats, shares, cache.resources(gatewayGroup, CDS));
        if (asked) return;
        asked = true;
        if (node?.clientFeatures.includes(SENDS_ALL)) ask(call, "all");
        else stopNaming = nameClusters(cache, gatewayGroup, intervalMs, call, (names) => ask(call, names));
      },
      gone() {
        nodes.leave(call);
        loads.withdraw(shares);
        stopNaming?.();
      },
    };
  });

  return {
    service: LoadReportingService,
    methods: [streams],
    close() {
      nodes.close();
      streams.close();
    },
  };
}

/** Tells a client the clusters of its gateway group now, and again when they have changed, at most once in an interval. */
function nameClusters(
  cache: ResourceCache,
  gatewayGroup: string,
  intervalMs: number,
  call: Pick<Call, "isSending">,
  tell: (names: readonly string[]) => void,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  let told: string | undefined;
  const tellNow = () => {
    timer = undefined;
    // Whoever hasn't read the names before needs no more of them yet.
    if (call.isSending) {
      later();
      return;
    }
    const names = [...(cache.resources(gatewayGroup, CDS)?.values() ?? [])].map(({ name }) => name);
    const named = names.slice(0, CLUSTERS_MAX);
    const text = named.join("\0");
    if (told === text) return;
    told = text;
    // Some clients, of which gRPC for Node is one, lose the first of the list: what stands there is no cluster.
    tell(["", ...named]);
  };
  const later = () => {
    timer ??= setTimeout(tellNow, intervalMs).unref();
  };
  const watcher: Watcher = {
    // Clusters that only changed are named already.
    changed: (_, changes) => {
      if (changes.some(({ before, exists }) => before === undefined || !exists)) later();
    },
    groupChanged: later,
  };
  const audience = cache.attach(gatewayGroup, watcher);
  audience.interest.add(CDS, WILDCARD, watcher);
  tellNow();
  return () => {
    clearTimeout(timer);
    audience.interest.remove(CDS, WILDCARD, watcher);
    audience.detach();
  };
}
