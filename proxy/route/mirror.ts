import type { RouteAction } from "#envoy/config/route/v3/route_components_pb.ts";

import type { Place } from "../compile.ts";
import type { RequestHead } from "../request.ts";
import { compileFraction } from "./fraction.ts";
import { firstHeaderReader } from "./matchers.ts";

/** Where copies of a route's requests go (RequestMirrorPolicy). */
export interface MirrorPolicy {
  /** The cluster for a request's copy; undefined: the request names none, and has no copy. */
  cluster(head: RequestHead): string | undefined;
  /** The share of requests that have a copy. */
  readonly fraction: number;
  /** Whether a copy's host says that it is one: "a.test-shadow:80" for "a.test:80". */
  readonly marksHost: boolean;
}

/** Compiles RouteAction.request_mirror_policies; undefined: there are none. Clusters that are named are added to `clusters`. */
export function compileMirrors(
  { requestMirrorPolicies: policies }: RouteAction,
  clusters: Set<string>,
  place: Place,
): readonly MirrorPolicy[] | undefined {
  if (policies.length === 0) return undefined;
  return policies.map((policy, index) => {
    const at = place.item("request_mirror_policies", index);
    const { cluster: name, clusterHeader } = policy;
    if ((name === "") === (clusterHeader === "")) at.refuse("one of cluster and cluster_header must be set");
    if (name !== "") clusters.add(name);
    return {
      cluster: name === "" ? firstHeaderReader(clusterHeader) : () => name,
      fraction: compileFraction(policy, at),
      marksHost: !policy.disableShadowHostSuffixAppend,
    };
  });
}
