import type { RequestHead } from "../request.ts";
import type { FilterSwitches } from "./filter-switches.ts";
import type { Mutations } from "./header-mutations.ts";
import type { MirrorPolicy } from "./mirror.ts";
import type { StreamDuration } from "./stream-duration.ts";

/** A RouteConfiguration made ready for matching (route/compile.ts makes it, route/match.ts uses it). */
export interface RouteTable {
  readonly name: string;
  /** The route that takes a request: first match of the most specific virtual host, as in Envoy. Undefined: 404, flag NR. */
  match(head: RequestHead): Route | undefined;
  /** Fields that only internal requests may bring (internal_only_headers); undefined: none. */
  readonly internalOnlyHeaders?: readonly string[] | undefined;
}

export interface Route {
  readonly name: string;
  readonly virtualHost: string;
  /** What route, virtual host and table change of header fields, in order. */
  readonly mutations: Mutations;
  readonly action: RouteAction;
  /** Which of the listener's filters take part, where that differs from what the listener says. */
  readonly filters?: FilterSwitches | undefined;
}

export type RouteAction =
  | { readonly kind: "forward"; readonly forward: ForwardAction }
  | { readonly kind: "redirect"; readonly status: number; location(head: RequestHead): string }
  | {
      readonly kind: "direct";
      readonly status: number;
      readonly body: Uint8Array;
      location?: (head: RequestHead) => string;
    };

export interface ForwardAction {
  /** The cluster for this request; weighted clusters draw anew on each call. */
  cluster(head: RequestHead): string;
  /** In place of `cluster` where weighted clusters have settings of their own; a cluster is drawn anew on each call. */
  readonly choose?: ((head: RequestHead) => ClusterChoice) | undefined;
  /** Whether upstream, and the client, are told which attempt it is, in x-envoy-attempt-count. */
  readonly attemptCount?: { readonly inRequest: boolean; readonly inResponse: boolean } | undefined;
  /** Whether requests have priority HIGH: breakers and connections of their own. */
  readonly isHighPriority?: boolean;
  /** What Envoy answers when the cluster doesn't exist: 503, or 404 if so configured. */
  readonly clusterNotFoundStatus: number;
  /** For the whole answer after the request is complete, retries included, in ms; 0: none. */
  readonly timeoutMs: number;
  /** For the whole stream; undefined: as the listener has it. */
  readonly streamDuration?: StreamDuration | undefined;
  /** For a stream on which nothing moves, in ms; 0: none; undefined: the listener's. */
  readonly idleTimeoutMs: number | undefined;
  readonly retry: RetryPolicy | undefined;
  /** The path to send upstream; undefined: as it is. The original then goes to x-envoy-original-path. */
  readonly rewritePath: ((path: string) => string) | undefined;
  readonly hostRewrite: HostRewrite | undefined;
  /** Whether the host that a rewrite replaces goes to x-forwarded-host. */
  readonly appendForwardedHost?: boolean;
  /** Where copies of requests go; undefined: nowhere. */
  readonly mirrors?: readonly MirrorPolicy[] | undefined;
  /** The 64-bit hash that decides the endpoint in consistent hashing; undefined: none of the policies applied. */
  readonly hash: ((head: RequestHead) => HashResult) | undefined;
  /** Upgrade types (lower case) switched on (true) or off (false) here; one that is absent follows the listener. */
  readonly upgrades: ReadonlyMap<string, boolean>;
}

/** One of several weighted clusters, with what it changes by itself, before the route does. */
export interface ClusterChoice {
  readonly name: string;
  readonly mutations: Mutations;
  /** Its host_rewrite_literal. */
  readonly hostRewrite: string | undefined;
}

/** `auto`: the hostname of the chosen endpoint, if it has one. `computed`: made of the request; "" leaves its host. */
export type HostRewrite =
  | { readonly kind: "literal"; readonly host: string }
  | { readonly kind: "auto" }
  | { readonly kind: "computed"; host(head: RequestHead): string };

export interface HashResult {
  readonly hash: bigint | undefined;
  /** A cookie that the policy generated, to be set on the response (Set-Cookie value). */
  readonly setCookie: string | undefined;
}

/** Envoy's RetryPolicy. `on` holds Envoy's words: "connect-failure", "5xx", … */
export interface RetryPolicy {
  readonly on: ReadonlySet<string>;
  readonly numRetries: number;
  /** 0: none of its own. */
  readonly perTryTimeoutMs: number;
  /** How long nothing may come of a try's response; 0: no bound. */
  readonly perTryIdleTimeoutMs: number;
  readonly retriableStatusCodes: ReadonlySet<number>;
  /** Whether the request is one that the policy is for (retriable_request_headers). */
  applies(head: RequestHead): boolean;
  readonly backOffBaseMs: number;
  readonly backOffMaxMs: number;
  /** How often to draw again for an endpoint that was not tried yet (previous_hosts predicate); 1: any endpoint will do. */
  readonly hostSelectionAttempts: number;
}
