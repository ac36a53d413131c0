/** Which filter chain a connection gets: Envoy's rules (FilterChainMatch), case by case. */
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { FilterChainMatchSchema } from "#envoy/config/listener/v3/listener_components_pb.ts";

import { Place } from "../compile.ts";
import { ChainTable, type ConnectionFacts } from "./chain-match.ts";

const FACTS: ConnectionFacts = {
  destinationAddress: "10.0.0.1",
  destinationPort: 443,
  serverName: "",
  transportProtocol: "raw_buffer",
  applicationProtocols: [],
  directSourceAddress: "10.0.0.9",
  sourceAddress: "192.168.1.2",
  sourcePort: 5000,
};

function table(matches: Record<string, JsonObject>) {
  const made = new ChainTable<{ name: string }>();
  const place = Place.root();
  Object.entries(matches).forEach(([name, match], index) =>
    made.add(fromJson(FilterChainMatchSchema, match), { name }, place.item("filter_chains", index)),
  );
  return { made, problems: place.problems };
}

const range = (addressPrefix: string, prefixLen: number) => ({ addressPrefix, prefixLen });

test.each<[string, Record<string, JsonObject>, Partial<ConnectionFacts>, string | undefined]>([
  ["no criteria take all", { all: {} }, {}, "all"],
  ["none fits", { one: { destinationPort: 80 } }, {}, undefined],
  ["a port before none", { any: {}, port: { destinationPort: 443 } }, {}, "port"],
  ["another port", { any: {}, port: { destinationPort: 80 } }, {}, "any"],
  [
    "no way back from a port",
    { any: {}, port: { destinationPort: 443, serverNames: ["a.test"] } },
    { serverName: "b.test" },
    undefined,
  ],
  [
    "the longest range",
    { wide: { prefixRanges: [range("10.0.0.0", 8)] }, narrow: { prefixRanges: [range("10.0.0.0", 24)] }, any: {} },
    {},
    "narrow",
  ],
  [
    "an IPv4 address in IPv6 clothes",
    { v4: { prefixRanges: [range("10.0.0.0", 8)] } },
    { destinationAddress: "::ffff:10.1.1.1" },
    "v4",
  ],
  [
    "an IPv6 range",
    { v6: { prefixRanges: [range("2001:db8::", 33)] } },
    { destinationAddress: "2001:db8:7fff::1" },
    "v6",
  ],
  [
    "outside of an IPv6 range",
    { v6: { prefixRanges: [range("2001:db8::", 33)] } },
    { destinationAddress: "2001:db8:8000::1" },
    undefined,
  ],
  ["the range of everything", { all: { prefixRanges: [range("0.0.0.0", 0)] } }, {}, "all"],
  [
    "an exact name",
    { star: { serverNames: ["*.a.test"] }, exact: { serverNames: ["www.a.test"] } },
    { serverName: "www.a.test" },
    "exact",
  ],
  [
    "the longest wildcard",
    { one: { serverNames: ["*.test"] }, two: { serverNames: ["*.a.test"] } },
    { serverName: "x.y.a.test" },
    "two",
  ],
  [
    "a wildcard isn't the name itself",
    { star: { serverNames: ["*.a.test"] }, any: {} },
    { serverName: "a.test" },
    "any",
  ],
  [
    "names are compared without case",
    { exact: { serverNames: ["WWW.A.test"] } },
    { serverName: "www.a.test" },
    "exact",
  ],
  [
    "a name before the transport",
    { tls: { transportProtocol: "tls" }, named: { serverNames: ["a.test"] } },
    { serverName: "a.test", transportProtocol: "tls" },
    "named",
  ],
  ["the transport", { tls: { transportProtocol: "tls" }, raw: { transportProtocol: "raw_buffer" } }, {}, "raw"],
  [
    "the client's first protocol that is there",
    { one: { applicationProtocols: ["http/1.1"] }, two: { applicationProtocols: ["h2"] } },
    { applicationProtocols: ["x", "h2", "http/1.1"] },
    "two",
  ],
  ["the peer's address", { direct: { directSourcePrefixRanges: [range("10.0.0.9", 32)] }, any: {} }, {}, "direct"],
  ["the client's address", { source: { sourcePrefixRanges: [range("192.168.0.0", 16)] }, any: {} }, {}, "source"],
  [
    "an external client",
    { local: { sourceType: "SAME_IP_OR_LOOPBACK" }, external: { sourceType: "EXTERNAL" } },
    {},
    "external",
  ],
  [
    "a client on this machine",
    { local: { sourceType: "SAME_IP_OR_LOOPBACK" }, any: {} },
    { sourceAddress: "10.0.0.1" },
    "local",
  ],
  ["a loopback client", { local: { sourceType: "SAME_IP_OR_LOOPBACK" }, any: {} }, { sourceAddress: "::1" }, "local"],
  ["the client's port", { port: { sourcePorts: [4999, 5000] }, any: {} }, {}, "port"],
])("%s", (_, matches, facts, expected) => {
  const { made, problems } = table(matches);
  expect(problems).toEqual([]);
  expect(made.find({ ...FACTS, ...facts })?.name).toBe(expected);
});

test.each<[string, Record<string, JsonObject>, string]>([
  ["the same match twice", { a: {}, b: {} }, "filter_chains[1]"],
  [
    "matches that overlap",
    { a: { serverNames: ["a.test", "b.test"] }, b: { serverNames: ["B.test"] } },
    "filter_chains[1]",
  ],
  [
    "ranges of the same addresses",
    { a: { prefixRanges: [range("10.1.0.0", 8)] }, b: { prefixRanges: [range("10.2.0.0", 8)] } },
    "filter_chains[1]",
  ],
  ["a star alone", { a: { serverNames: ["*"] } }, "filter_chains[0].server_names[0]"],
  ["a star amid a name", { a: { serverNames: ["a.*.test"] } }, "filter_chains[0].server_names[0]"],
  ["a star that is a part of a label", { a: { serverNames: ["w*.test"] } }, "filter_chains[0].server_names[0]"],
  ["no range", { a: { prefixRanges: [range("10.0.0.1", 33)] } }, "filter_chains[0].prefix_ranges[0]"],
])("%s: refused", (_, matches, field) => {
  expect(table(matches).problems.map((problem) => problem.field)).toEqual([field]);
});
