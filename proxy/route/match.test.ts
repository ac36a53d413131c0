/** Which route takes a request: a table for each of Envoy's rules, and the index against trying one after the other. */
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import type { RouteMatchSchema, RouteSchema, VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";

import type { Init } from "../../test/support/message-init.ts";
import { requestHead } from "../../test/support/request-head.ts";
import { compileRouteConfiguration } from "./compile.ts";

type Match = Init<typeof RouteMatchSchema>;

const prefix = (value: string): Match => ({ pathSpecifier: { case: "prefix", value } });
const path = (value: string): Match => ({ pathSpecifier: { case: "path", value } });
const separated = (value: string): Match => ({ pathSpecifier: { case: "pathSeparatedPrefix", value } });
const regex = (value: string): Match => ({ pathSpecifier: { case: "safeRegex", value: { regex: value } } });

/** A table of one virtual host whose routes are named by their place in the list. */
function table(matches: readonly Match[], domains: readonly string[] = ["*"]) {
  const compiled = compileRouteConfiguration(
    create(RouteConfigurationSchema, {
      virtualHosts: [
        {
          name: "host",
          domains: [...domains],
          routes: matches.map(
            (match, at): Init<typeof RouteSchema> => ({
              name: String(at),
              match,
              action: { case: "directResponse", value: { status: 200 } },
            }),
          ),
        },
      ],
    }),
  );
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
  return compiled.value;
}

const takes = (match: Match, head: Parameters<typeof requestHead>[0]) =>
  table([match]).match(requestHead(head)) !== undefined;

describe("path", () => {
  test.each([
    ["prefix has no segments", prefix("/prefix"), "/prefixfoo", true],
    ["prefix is at the start", prefix("/prefix"), "/a/prefix", false],
    ["prefix looks at the path only", prefix("/prefix?"), "/prefix?a", false],
    ["path is the whole path", path("/a"), "/a/", false],
    ["path leaves the query out", path("/a"), "/a?b=/a", true],
    ["path leaves the fragment out", path("/a"), "/a#b", true],
    ["path_separated_prefix takes itself", separated("/api/dev"), "/api/dev", true],
    ["path_separated_prefix takes segments below", separated("/api/dev"), "/api/dev/", true],
    ["path_separated_prefix takes itself with a query", separated("/api/dev"), "/api/dev?a", true],
    ["path_separated_prefix takes no longer segment", separated("/api/dev"), "/api/developer", false],
    ["regex is a full match", regex("/b[io]t"), "/bits", false],
    ["regex leaves the query out", regex("/b[io]t"), "/bot?x", true],
    ["regex of words", regex("(/a|/b)"), "/b", true],
    ["regex of a segment", regex("/users/[^/]+/orders"), "/users/7/orders", true],
    ["regex of a segment is not empty", regex("/users/[^/]+/orders"), "/users//orders", false],
    ["regex ignores case_sensitive", { ...regex("/A"), caseSensitive: false }, "/a", false],
    ["case counts", path("/A"), "/a", false],
    ["case_sensitive: false", { ...path("/ABC"), caseSensitive: false }, "/aBc", true],
    ["case_sensitive: false with a prefix", { ...prefix("/ABC"), caseSensitive: false }, "/abCd", true],
    ["text beyond ASCII is its UTF-8 bytes", path("/\u00e9"), "/\u00c3\u00a9", true],
  ])("%s", (_, match, target, expected) => {
    expect(takes(match, { path: target })).toBe(expected);
  });

  test("the first of the list wins, whatever its length", () => {
    const routes = table([prefix("/a"), path("/a/b"), regex("/a/.*")]);
    expect(routes.match(requestHead({ path: "/a/b" }))?.name).toBe("0");
  });

  test("a route whose conditions fail lets the next one have its turn", () => {
    const routes = table([{ ...path("/a"), headers: [{ name: "x-beta" }] }, prefix("/")]);
    expect(routes.match(requestHead({ path: "/a" }))?.name).toBe("1");
    expect(routes.match(requestHead({ path: "/a", headers: { "x-beta": "1" } }))?.name).toBe("0");
  });
});

describe("query parameters", () => {
  const exact = (name: string, value: string): Match => ({
    ...prefix("/"),
    queryParameters: [
      {
        name,
        queryParameterMatchSpecifier: {
          case: "stringMatch",
          value: { matchPattern: { case: "exact", value } },
        },
      },
    ],
  });
  const present = (wanted: boolean): Match => ({
    ...prefix("/"),
    queryParameters: [{ name: "a", queryParameterMatchSpecifier: { case: "presentMatch", value: wanted } }],
  });
  test.each([
    ["value", exact("a", "1"), "/?b=2&a=1", true],
    ["only the first of a repeated key", exact("a", "1"), "/?a=2&a=1", false],
    ["nothing is decoded", exact("a", "1 2"), "/?a=1%202", false],
    ["not decoded, as it stands", exact("a", "1%202"), "/?a=1%202", true],
    ["a key without value is empty", exact("a", ""), "/?a", true],
    ["a longer key is another key", exact("a", "1"), "/?ab=1", false],
    ["present", present(true), "/?a", true],
    ["not present", present(true), "/?b", false],
    ["absent", present(false), "/", true],
    ["the path has no parameters", present(true), "/a=1", false],
  ])("%s", (_, match, target, expected) => {
    expect(takes(match, { path: target })).toBe(expected);
  });
});

test("runtime_fraction: none and all", () => {
  const fraction = (numerator: number): Match => ({
    ...prefix("/"),
    runtimeFraction: { defaultValue: { numerator, denominator: 0 } },
  });
  expect(takes(fraction(0), {})).toBe(false);
  expect(takes(fraction(100), {})).toBe(true);
});

describe("the index finds what trying one after the other finds", () => {
  const segment = fc.constantFrom("a", "b", "ab", "aa", "A", "");
  const literal = fc.array(segment, { minLength: 1, maxLength: 3 }).map((segments) => `/${segments.join("/")}`);
  const parts = fc.array(fc.constantFrom("a", "b", "ab", "[^/]+", "x"), { minLength: 1, maxLength: 3 });
  const matchers = fc.oneof(
    literal.map((value) => ({ match: prefix(value), takes: (p: string) => p.startsWith(value) })),
    literal.map((value) => ({ match: path(value), takes: (p: string) => p === value })),
    literal.map((value) => ({
      match: { ...prefix(value), caseSensitive: false },
      takes: (p: string) => p.toLowerCase().startsWith(value.toLowerCase()),
    })),
    literal
      .filter((value) => !value.endsWith("/"))
      .map((value) => ({
        match: separated(value),
        takes: (p: string) => p === value || p.startsWith(`${value}/`),
      })),
    fc.tuple(parts, fc.constantFrom("", ".*", "/.*", "(/.*)?", "|/a", "/a?", "(b|ab)")).map(([all, tail]) => {
      const text = `/${all.join("/")}${tail}`;
      return { match: regex(text), takes: (p: string) => new RegExp(`^(?:${text})$`).test(p) };
    }),
  );

  test("on any list of routes", () => {
    fc.assert(
      fc.property(fc.array(matchers, { maxLength: 20 }), literal, fc.array(fc.boolean()), (list, target, beta) => {
        const headers = list.map((_, at) => beta[at] === true);
        const routes = table(
          list.map(({ match }, at) => (headers[at] === true ? { ...match, headers: [{ name: "x-beta" }] } : match)),
        );
        const expected = list.findIndex(({ takes: taken }, at) => headers[at] !== true && taken(target));
        const found = routes.match(requestHead({ path: `${target}?q` }));
        expect(found?.name ?? "-1").toBe(String(expected));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("domains", () => {
  function hostTable(all: readonly (readonly string[])[], ignorePortInHostMatching = false) {
    const compiled = compileRouteConfiguration(
      create(RouteConfigurationSchema, {
        ignorePortInHostMatching,
        virtualHosts: all.map(
          (domains, at): Init<typeof VirtualHostSchema> => ({
            name: String(at),
            domains: [...domains],
            routes: [{ match: prefix("/"), action: { case: "directResponse", value: { status: 200 } } }],
          }),
        ),
      }),
    );
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems));
    return compiled.value;
  }
  const hosts = hostTable([["*"], ["*.foo.com"], ["*-bar.foo.com"], ["www.foo.com"], ["foo.*"], ["foo.c*"]]);
  test.each([
    ["exact before wildcard", "www.foo.com", "3"],
    ["the longest suffix", "a-bar.foo.com", "2"],
    ["a shorter suffix", "a.foo.com", "1"],
    ["a wildcard takes at least one character", "-bar.foo.com", "1"],
    ["not the domain itself", ".foo.com", "0"],
    ["a longer prefix", "foo.com", "5"],
    ["a prefix", "foo.org", "4"],
    ["anything", "other", "0"],
    ["without case", "WWW.Foo.Com", "3"],
    ["the port is part of the host", "www.foo.com:80", "0"],
  ])("%s", (_, authority, expected) => {
    expect(hosts.match(requestHead({ authority }))?.virtualHost).toBe(expected);
  });

  test("ignore_port_in_host_matching", () => {
    const ignoring = hostTable([["a.com"], ["[::1]"]], true);
    expect(ignoring.match(requestHead({ authority: "a.com:8080" }))?.virtualHost).toBe("0");
    expect(ignoring.match(requestHead({ authority: "[::1]:8080" }))?.virtualHost).toBe("1");
    expect(ignoring.match(requestHead({ authority: "[::1]" }))?.virtualHost).toBe("1");
  });
});
