import type { RetryPolicy as RetryPolicyMessage, RouteAction } from "#envoy/config/route/v3/route_components_pb.ts";
import {
  RouteAction_ClusterNotFoundResponseCode as NotFoundCode,
  type WeightedCluster,
} from "#envoy/config/route/v3/route_components_pb.ts";
import { RoutingPriority } from "#envoy/config/core/v3/base_pb.ts";

import { durationMs, type Place } from "../compile.ts";
import type { RequestHead } from "../request.ts";
import { compileHashPolicies } from "./hash.ts";
import { compileMutations, NO_MUTATIONS } from "./header-mutations.ts";
import { compileHostRewrite } from "./host-rewrite.ts";
import { firstHeaderReader, headerReader } from "./matchers.ts";
import { compileMirrors } from "./mirror.ts";
import type { PathMatch } from "./path.ts";
import { compileRetryPolicy } from "./retry.ts";
import { prefixRewrite, regexRewrite } from "./rewrite.ts";
import type { ClusterChoice, ForwardAction, RetryPolicy } from "./route.ts";
import { compileStreamDuration } from "./stream-duration.ts";

/** RouteAction.timeout: "If not specified, the default is 15s". */
const TIMEOUT_MS_DEFAULT = 15_000;

/** WeightedCluster: the sum of all weights is a uint32. */
const WEIGHT_SUM_MAX = 2 ** 32 - 1;

/** What routes of one virtual host share while they are compiled. */
export interface ForwardContext {
  /** Filled with every cluster that is named. */
  readonly clusters: Set<string>;
  /** The virtual host's; for routes that have none. */
  readonly retry: RetryPolicy | undefined;
  /** The virtual host's. */
  readonly attemptCount: ForwardAction["attemptCount"];
}

/** Compiles a RouteAction. Undefined: a problem was reported. */
export function compileForward(
  action: RouteAction,
  match: PathMatch,
  context: ForwardContext,
  place: Place,
): ForwardAction | undefined {
  const cluster = compileCluster(action, context.clusters, place);
  if (cluster === undefined) return undefined;
  return {
    ...cluster,
    attemptCount: context.attemptCount,
    isHighPriority: action.priority === RoutingPriority.HIGH,
    clusterNotFoundStatus: clusterNotFoundStatus(action.clusterNotFoundResponseCode, place),
    // As in Envoy, max_stream_duration takes the place of `timeout` (FilterUtility::finalTimeout, usingNewTimeouts).
    timeoutMs: action.maxStreamDuration === undefined ? durationMs(action.timeout, TIMEOUT_MS_DEFAULT) : 0,
    streamDuration: compileStreamDuration(action, place),
    idleTimeoutMs: durationMs(action.idleTimeout, undefined),
    retry: routeRetry(action.retryPolicy, context, place),
    rewritePath: compileRewrite(action, match, place),
    hostRewrite: compileHostRewrite(action, place),
    appendForwardedHost: action.appendXForwardedHost,
    mirrors: compileMirrors(action, context.clusters, place),
    hash: compileHashPolicies(action.hashPolicy, place),
    upgrades: compileUpgrades(action, place),
  };
}

function routeRetry(policy: RetryPolicyMessage | undefined, context: ForwardContext, place: Place) {
  return policy === undefined ? context.retry : compileRetryPolicy(policy, place.field("retry_policy"));
}

function clusterNotFoundStatus(code: NotFoundCode, place: Place): number {
  switch (code) {
    case NotFoundCode.SERVICE_UNAVAILABLE:
      return 503;
    case NotFoundCode.NOT_FOUND:
      return 404;
    case NotFoundCode.INTERNAL_SERVER_ERROR:
      return 500;
    default:
      place.field("cluster_not_found_response_code").refuse("unknown value");
      return 503;
  }
}

/** Which cluster a request goes to. */
type Target = Pick<ForwardAction, "cluster" | "choose">;

function compileCluster(
  { clusterSpecifier: specifier }: RouteAction,
  clusters: Set<string>,
  place: Place,
): Target | undefined {
  switch (specifier.case) {
    case "cluster": {
      const name = specifier.value;
      if (name === "") {
        place.field("cluster").refuse("must not be empty");
        return undefined;
      }
      clusters.add(name);
      return { cluster: () => name };
    }
    case "clusterHeader": {
      if (specifier.value === "") {
        place.field("cluster_header").refuse("must not be empty");
        return undefined;
      }
      const read = firstHeaderReader(specifier.value);
      return { cluster: (head) => read(head) ?? "" };
    }
    case "weightedClusters":
      return compileWeighted(specifier.value, clusters, place.field("weighted_clusters"));
    default:
      place.refuse("one of cluster, cluster_header, weighted_clusters must be set");
      return undefined;
  }
}

function compileWeighted(weighted: WeightedCluster, clusters: Set<string>, place: Place): Target | undefined {
  const choices: ClusterChoice[] = [];
  const ends: number[] = [];
  let total = 0;
  weighted.clusters.forEach((one, index) => {
    const at = place.item("clusters", index);
    if (one.name === "") at.field("name").refuse("must not be empty");
    clusters.add(one.name);
    const { hostRewriteSpecifier: host } = one;
    const choice: ClusterChoice = {
      name: one.name,
      mutations: compileMutations(one, at),
      hostRewrite: host.case === undefined || host.value === "" ? undefined : host.value,
    };
    const weight = one.weight ?? 0;
    if (weight === 0) return; // Never drawn.
    total += weight;
    choices.push(choice);
    ends.push(total);
  });
  if (total === 0) {
    place.refuse("the sum of the weights must be greater than 0");
    return undefined;
  }
  if (total > WEIGHT_SUM_MAX) {
    place.refuse("the sum of the weights must fit in 32 bits");
    return undefined;
  }
  const draw = weightDraw(weighted, total);
  const choose = (head: RequestHead): ClusterChoice => {
    const drawn = draw(head);
    let at = 0;
    while (drawn >= (ends[at] as number)) at++;
    return choices[at] as ClusterChoice;
  };
  const plain = choices.every(({ mutations, hostRewrite }) => mutations === NO_MUTATIONS && hostRewrite === undefined);
  return { cluster: (head) => choose(head).name, ...(!plain && { choose }) };
}

/** A number in [0, total): random, or what the client sent in a header, so that it can stick to its choice. */
function weightDraw(weighted: WeightedCluster, total: number): (head: RequestHead) => number {
  const random = () => Math.floor(Math.random() * total);
  const { randomValueSpecifier: specifier } = weighted;
  if (specifier.case !== "headerName" || specifier.value === "") return random;
  const read = headerReader(specifier.value);
  const sum = BigInt(total);
  return (head) => {
    const value = read(head);
    return value !== undefined && /^[0-9]{1,20}$/.test(value) ? Number(BigInt(value) % sum) : random();
  };
}

function compileRewrite(action: RouteAction, match: PathMatch, place: Place): ForwardAction["rewritePath"] {
  if (action.regexRewrite !== undefined) {
    if (action.prefixRewrite !== "") place.refuse("only one of prefix_rewrite and regex_rewrite may be set");
    return regexRewrite(action.regexRewrite, place.field("regex_rewrite"));
  }
  return action.prefixRewrite === "" ? undefined : prefixRewrite(action.prefixRewrite, match.matchedLength);
}

/** Of nearly all routes. */
const NO_UPGRADES: ReadonlyMap<string, boolean> = new Map();

function compileUpgrades(action: RouteAction, place: Place): ReadonlyMap<string, boolean> {
  if (action.upgradeConfigs.length === 0) return NO_UPGRADES;
  const upgrades = new Map<string, boolean>();
  action.upgradeConfigs.forEach(({ upgradeType, enabled, connectConfig }, index) => {
    const type = upgradeType.toLowerCase();
    const at = place.item("upgrade_configs", index).field("upgrade_type");
    if (upgrades.has(type)) at.refuse("this type is there already");
    // To hand a CONNECT on to another proxy is not supported.
    if ((type === "connect") !== (connectConfig !== undefined)) {
      place.item("upgrade_configs", index).field("connect_config").refuse("must be set for CONNECT, and only for it");
    }
    upgrades.set(type, enabled ?? true);
  });
  return upgrades;
}
