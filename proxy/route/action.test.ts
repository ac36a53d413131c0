/** What a route does with the requests that it takes: cluster, rewrite, redirect, retry, hash (proxy-parity 3.3 to 3.5, 3.8). */
import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";

import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { RedirectAction_RedirectResponseCode as Code } from "#envoy/config/route/v3/route_components_pb.ts";
import type {
  RedirectActionSchema,
  RouteActionSchema,
  RouteMatchSchema,
  RouteSchema,
} from "#envoy/config/route/v3/route_components_pb.ts";

import type { Init } from "../../test/support/message-init.ts";
import { requestHead } from "../../test/support/request-head.ts";
import { compileRouteConfiguration } from "./compile.ts";
import { xxHash64 } from "./hash.ts";

type Match = Init<typeof RouteMatchSchema>;
const all: Match = { pathSpecifier: { case: "prefix", value: "/" } };

const compile = (route: Init<typeof RouteSchema>) =>
  compileRouteConfiguration(
    create(RouteConfigurationSchema, {
      virtualHosts: [{ name: "host", domains: ["*"], routes: [{ match: all, ...route }] }],
    }),
  );

function actionOf(route: Init<typeof RouteSchema>) {
  const compiled = compile(route);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  const path = route.match?.pathSpecifier?.case === "safeRegex" ? "/users/7" : "/api/x";
  const action = compiled.value.match(requestHead({ path }))?.action;
  if (action === undefined) throw new Error("the route takes no request");
  return { action, clusters: compiled.value.clusters };
}

function forward(value: Init<typeof RouteActionSchema>, match: Match = all) {
  const { action, clusters } = actionOf({
    match,
    action: { case: "route", value: { clusterSpecifier: { case: "cluster", value: "c" }, ...value } },
  });
  if (action.kind !== "forward") throw new Error("not a forward action");
  return { ...action.forward, clusters };
}

test("defaults are Envoy's", () => {
  const action = forward({});
  expect(action.timeoutMs).toBe(15_000);
  expect(action.idleTimeoutMs).toBeUndefined();
  expect(action.clusterNotFoundStatus).toBe(503);
  expect(action.retry).toBeUndefined();
  expect(action.hash).toBeUndefined();
  const { retry } = forward({ retryPolicy: { retryOn: "5xx, connect-failure" } });
  expect([...(retry?.on ?? [])]).toEqual(["5xx", "connect-failure"]);
  expect(retry).toMatchObject({ numRetries: 1, backOffBaseMs: 25, backOffMaxMs: 250, hostSelectionAttempts: 1 });
});

describe("rewrite", () => {
  const prefix: Match = { pathSpecifier: { case: "prefix", value: "/api" } };
  const exact: Match = { pathSpecifier: { case: "path", value: "/api/x" } };
  const regex: Match = { pathSpecifier: { case: "safeRegex", value: { regex: "/users/[^/]+" } } };
  const substitute = (pattern: string, substitution: string) => ({
    regexRewrite: { pattern: { regex: pattern }, substitution },
  });
  test.each<[string, Init<typeof RouteActionSchema>, Match, string, string]>([
    ["a prefix, the rest and the query stay", { prefixRewrite: "/v1" }, prefix, "/api/x?q=/api", "/v1/x?q=/api"],
    ["nothing is done about double slashes", { prefixRewrite: "/" }, prefix, "/api/x", "//x"],
    ["an exact path, the query stays", { prefixRewrite: "/y" }, exact, "/api/x?q", "/y?q"],
    ["a regex match counts whole", { prefixRewrite: "/y" }, regex, "/users/7?q", "/y?q"],
    ["all matches of regex_rewrite", substitute("a", "b"), all, "/aa/a?a", "/bb/b?a"],
    ["groups", substitute("^/(.*)/(.*)$", "/\\2/\\1"), all, "/api/x", "/x/api"],
    ["a prefix cut off", substitute("^/api", ""), all, "/api/x?/api", "/x?/api"],
    ["a prefix that is not there", substitute("^/other", ""), all, "/api/x", "/api/x"],
    ["an empty match after a match is no match", substitute("x*", "-"), all, "/xxa", "-/-a-"],
  ])("%s", (_, action, match, path, expected) => {
    expect(forward(action, match).rewritePath?.(path)).toBe(expected);
  });
});

describe("redirect", () => {
  const redirect = (value: Init<typeof RedirectActionSchema>, match: Match = all) => {
    const { action } = actionOf({ match, action: { case: "redirect", value } });
    if (action.kind !== "redirect") throw new Error("not a redirect");
    return action;
  };
  const https = { schemeRewriteSpecifier: { case: "httpsRedirect", value: true } } as const;
  const toPath = (value: string, more = {}) =>
    ({ pathRewriteSpecifier: { case: "pathRedirect", value }, ...more }) as const;
  test.each<[string, Init<typeof RedirectActionSchema>, string, string, string]>([
    ["the default keeps everything", {}, "a.com", "/api/x?q", "http://a.com/api/x?q"],
    ["https drops the default port", https, "a.com:80", "/api/x", "https://a.com/api/x"],
    ["https keeps another port", https, "a.com:8080", "/api/x", "https://a.com:8080/api/x"],
    ["https drops the default port of an IPv6 host", https, "[::1]:80", "/api/x", "https://[::1]/api/x"],
    ["a host", { hostRedirect: "b.com" }, "a.com:80", "/api/x", "http://b.com/api/x"],
    ["a port replaces the port", { portRedirect: 81 }, "a.com:80", "/api/x", "http://a.com:81/api/x"],
    ["a path keeps the query", toPath("/y"), "a.com", "/api/x?q", "http://a.com/y?q"],
    ["a path with a query of its own", toPath("/y?z"), "a.com", "/api/x?q", "http://a.com/y?z"],
    ["strip_query", toPath("/y", { stripQuery: true }), "a.com", "/api/x?q", "http://a.com/y"],
    ["strip_query without path", { stripQuery: true }, "a.com", "/api/x?q", "http://a.com/api/x"],
    [
      "a prefix",
      { pathRewriteSpecifier: { case: "prefixRewrite", value: "/v2/" } },
      "a.com",
      "/api/x?q",
      "http://a.com/v2/api/x?q",
    ],
  ])("%s", (_, value, authority, path, expected) => {
    expect(redirect(value).location(requestHead({ authority, path }))).toBe(expected);
  });

  test("statuses", () => {
    const codes = [
      Code.MOVED_PERMANENTLY,
      Code.FOUND,
      Code.SEE_OTHER,
      Code.TEMPORARY_REDIRECT,
      Code.PERMANENT_REDIRECT,
    ];
    expect(codes.map((responseCode) => redirect({ responseCode }).status)).toEqual([301, 302, 303, 307, 308]);
  });
});

describe("clusters", () => {
  const weighted = (clusters: { name: string; weight: number }[], headerName?: string) =>
    forward({
      clusterSpecifier: {
        case: "weightedClusters",
        value: {
          clusters,
          randomValueSpecifier: headerName === undefined ? undefined : { case: "headerName", value: headerName },
        },
      },
    });

  test("weight 0 is never drawn, but is named", () => {
    const action = weighted([
      { name: "never", weight: 0 },
      { name: "always", weight: 1 },
    ]);
    expect(new Set(Array.from({ length: 100 }, () => action.cluster(requestHead())))).toEqual(new Set(["always"]));
    expect(action.clusters).toEqual(new Set(["never", "always"]));
  });

  test("a header's value draws, modulo the sum", () => {
    const action = weighted(
      [
        { name: "a", weight: 1 },
        { name: "b", weight: 2 },
      ],
      "x-draw",
    );
    const draw = (value: string) => action.cluster(requestHead({ headers: { "x-draw": value } }));
    expect(["0", "1", "2", "3"].map(draw)).toEqual(["a", "b", "b", "a"]);
  });

  test("cluster_header names the cluster", () => {
    const action = forward({ clusterSpecifier: { case: "clusterHeader", value: "x-to" } });
    expect(action.cluster(requestHead({ headers: { "x-to": "c1" } }))).toBe("c1");
    expect(action.cluster(requestHead())).toBe("");
  });
});

describe("hash", () => {
  const policies = (...hashPolicy: NonNullable<Init<typeof RouteActionSchema>["hashPolicy"]>) =>
    forward({ hashPolicy }).hash;
  const header = (headerName: string, terminal = false) =>
    ({ policySpecifier: { case: "header", value: { headerName } }, terminal }) as const;
  const rotate = (hash: bigint) => BigInt.asUintN(64, (hash << 1n) | (hash >> 63n));

  test("xxHash64 is the real one", () => {
    expect(xxHash64("")).toBe(0xef46db3751d8e999n);
    expect(xxHash64("a")).toBe(0xd24ec4f1a98c6e5bn);
  });

  test("of a header; none where there is none", () => {
    const hash = policies(header("x-user"));
    expect(hash?.(requestHead({ headers: { "x-user": "a" } })).hash).toBe(xxHash64("a"));
    expect(hash?.(requestHead()).hash).toBeUndefined();
  });

  test("fields of one name count in any order", () => {
    const hash = policies(header("x"));
    const one = hash?.(requestHead({ headers: { x: ["a", "b"] } })).hash;
    expect(one).toBe(hash?.(requestHead({ headers: { x: ["b", "a"] } })).hash);
    expect(one).toBe(xxHash64("b", xxHash64("a")));
  });

  test("policies combine by rotation and exclusive or", () => {
    const head = requestHead({ headers: { a: "1", b: "1" } });
    expect(policies(header("a"), header("b"))?.(head).hash).toBe(rotate(xxHash64("1")) ^ xxHash64("1"));
    expect(policies(header("a", true), header("b"))?.(head).hash).toBe(xxHash64("1"));
  });

  test("the path, the source and a query parameter", () => {
    const head = requestHead({ path: "/a?b=c" });
    expect(policies(header(":path"))?.(head).hash).toBe(xxHash64("/a?b=c"));
    const source = { policySpecifier: { case: "connectionProperties", value: { sourceIp: true } } } as const;
    expect(policies(source)?.(head).hash).toBe(xxHash64("192.0.2.1"));
    const query = { policySpecifier: { case: "queryParameter", value: { name: "b" } } } as const;
    expect(policies(query)?.(head).hash).toBe(xxHash64("c"));
  });

  test("a cookie, and the one that is made where there is none", () => {
    const cookie = (ttlSeconds?: number) =>
      policies({
        policySpecifier: {
          case: "cookie",
          value: {
            name: "sid",
            path: "/p",
            ttl: ttlSeconds === undefined ? undefined : { seconds: BigInt(ttlSeconds), nanos: 0 },
          },
        },
      });
    const sent = requestHead({ headers: { cookie: 'x=1; sid="abc"' } });
    expect(cookie()?.(sent)).toEqual({ hash: xxHash64("abc"), setCookie: undefined });
    expect(cookie()?.(requestHead())).toEqual({ hash: undefined, setCookie: undefined });
    const made = cookie(10)?.(requestHead());
    const value = /^sid="([0-9a-f]{16})"; Max-Age=10; Path=\/p; HttpOnly$/.exec(made?.setCookie ?? "")?.[1];
    expect(made?.hash).toBe(xxHash64(value ?? ""));
    expect(cookie(0)?.(requestHead())?.setCookie).not.toContain("Max-Age");
  });
});

describe("what is wrong is told with its place", () => {
  const problemsOf = (route: Init<typeof RouteSchema>) => {
    const compiled = compile(route);
    return compiled.ok ? [] : compiled.problems.map(({ field }) => field);
  };
  const to = (value: Init<typeof RouteActionSchema>) => ({ action: { case: "route", value } }) as const;
  const cluster = { clusterSpecifier: { case: "cluster", value: "c" } } as const;
  const at = "virtual_hosts[0].routes[0]";
  test.each<[string, Init<typeof RouteSchema>, string]>([
    [
      "a regex that is not RE2",
      { match: { pathSpecifier: { case: "safeRegex", value: { regex: "(?=a)" } } }, ...to(cluster) },
      "match.safe_regex.regex",
    ],
    [
      "weights of 0",
      to({ clusterSpecifier: { case: "weightedClusters", value: { clusters: [{ name: "a", weight: 0 }] } } }),
      "route.weighted_clusters",
    ],
    [
      "a group that is not there",
      to({ ...cluster, regexRewrite: { pattern: { regex: "a" }, substitution: "\\1" } }),
      "route.regex_rewrite.substitution",
    ],
    [
      "a condition of retries that is not known",
      to({ ...cluster, retryPolicy: { retryOn: "5xx,nope" } }),
      "route.retry_policy.retry_on",
    ],
    [
      "a body that is too large",
      {
        action: {
          case: "directResponse",
          value: { status: 200, body: { specifier: { case: "inlineString", value: "x".repeat(4097) } } },
        },
      },
      "direct_response.body",
    ],
  ])("%s", (_, route, field) => {
    expect(problemsOf(route)).toEqual([`${at}.${field}`]);
  });

  test("a domain that is there twice", () => {
    const compiled = compileRouteConfiguration(
      create(RouteConfigurationSchema, {
        virtualHosts: [
          { name: "a", domains: ["a.com", "*.b.com"] },
          { name: "b", domains: ["A.com", "*.B.com"] },
        ],
      }),
    );
    expect(compiled.ok ? [] : compiled.problems.map(({ field }) => field)).toEqual([
      "virtual_hosts[1].domains[0]",
      "virtual_hosts[1].domains[1]",
    ]);
  });
});
