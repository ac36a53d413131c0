/** What is taken to be good for its shape alone must be what the judgement of the whole message finds good, with the same references. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { rootCertificates } from "node:tls";

import { clone, create, type DescMessage, type Message, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";

import { type Cluster, ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { TransportSocketSchema } from "#envoy/config/core/v3/base_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { RouteSchema, VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { UpstreamTlsContextSchema } from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import { assignment, cluster, virtualHost } from "../../test/support/envoy-resources.ts";
import type { Init } from "../../test/support/message-init.ts";
import { validateResource } from "../parts.ts";
import { supportedFields } from "../supported-fields.ts";
import { decodeResource } from "./decode.ts";
import { KnownShapes } from "./known-shapes.ts";
import { type References, referencesOf } from "./references.ts";

const decoder = { fields: supportedFields, validate: validateResource };

interface Sent {
  readonly type: ResourceType;
  readonly name: string;
  readonly bytes: Uint8Array;
}

const sent = (shortName: ResourceType["shortName"], name: string, message: Message): Sent => {
  const type = resourceType(shortName);
  return { type, name, bytes: toBinary(type.schema, message) };
};

/** The judgement of the whole message; undefined: it is refused. */
function judge({ type, name, bytes }: Sent): References | undefined {
  const decoded = decodeResource(type, name, bytes, decoder);
  return decoded.ok ? referencesOf(decoded.value) : undefined;
}

/** What is found without it, and what is remembered if there is nothing. */
function meet(known: KnownShapes, resource: Sent): References | undefined {
  const { type, name, bytes } = resource;
  const shape = known.shapeOf(type, bytes);
  if (shape === undefined) return undefined;
  const found = known.find(type, name, shape);
  const judged = found === undefined ? judge(resource) : undefined;
  if (judged !== undefined) known.add(type, shape, judged);
  return found;
}

/** Whether the second one is known once the first one has been judged. */
function isKnownBy(first: Sent, second: Sent): boolean {
  const known = new KnownShapes();
  expect(judge(first), "the first is good").toBeDefined();
  meet(known, first);
  const found = meet(known, second);
  if (found !== undefined) expect(found).toEqual(judge(second));
  return found !== undefined;
}

const host = (name: string, message: Init<typeof VirtualHostSchema>) =>
  sent("VHDS", name, create(VirtualHostSchema, { name, ...message }));

const route = (prefix: string, to: string) =>
  ({
    match: { pathSpecifier: { case: "prefix", value: prefix } },
    action: { case: "route", value: { clusterSpecifier: { case: "cluster", value: to } } },
  }) as const;

test("resources that differ in names, addresses and numbers are known by one of them", () => {
  expect(isKnownBy(sent("CDS", "a", cluster("a")), sent("CDS", "b", cluster("b")))).toBe(true);
  expect(isKnownBy(sent("EDS", "a", assignment("a", 1, 2)), sent("EDS", "b", assignment("b", 3, 4, 5)))).toBe(true);
  const one = sent("VHDS", "r/a", virtualHost("r/a", ["a.test"], "a"));
  expect(isKnownBy(one, sent("VHDS", "r/b", virtualHost("r/b", ["b.test", "*.b.test"], "b")))).toBe(true);
  const two = host("r/a", { domains: ["a.test"], routes: [route("/x", "a"), route("/", "b")] });
  expect(isKnownBy(two, host("r/b", { domains: ["b.test"], routes: [route("/yy", "c")] }))).toBe(true);
});

test("a host without routes refers to nothing, whatever the one like it referred to", () => {
  const known = new KnownShapes();
  meet(known, sent("VHDS", "r/a", virtualHost("r/a", ["a.test"], "a")));
  expect(meet(known, host("r/b", { domains: ["b.test"] }))).toMatchObject({ clusters: [], domains: ["b.test"] });
});

test("what is set otherwise, or more, is judged", () => {
  const plain = cluster("a") as Cluster;
  const other = clone(ClusterSchema, plain);
  other.respectDnsTtl = true;
  expect(isKnownBy(sent("CDS", "a", plain), sent("CDS", "a", other))).toBe(false);
  const one = host("r/a", { domains: ["a.test"], routes: [route("/", "a")] });
  expect(isKnownBy(one, host("r/b", { domains: ["b.test"], routes: [route("/", "a")], requireTls: 2 }))).toBe(false);
});

test("what files and the environment have a say in is judged each time", () => {
  const filename = join(mkdtempSync(join(tmpdir(), "sluice-test-")), "ca.pem");
  writeFileSync(filename, rootCertificates[0] ?? "");
  const context = {
    commonTlsContext: {
      validationContextType: {
        case: "validationContext" as const,
        value: { trustedCa: { specifier: { case: "filename" as const, value: filename } } },
      },
    },
  };
  const typedConfig = anyPack(UpstreamTlsContextSchema, create(UpstreamTlsContextSchema, context));
  const trusting = clone(ClusterSchema, cluster("a") as Cluster);
  trusting.transportSocket = create(TransportSocketSchema, {
    name: "envoy.transport_sockets.tls",
    configType: { case: "typedConfig", value: typedConfig },
  });
  expect(isKnownBy(sent("CDS", "a", trusting), sent("CDS", "a", trusting))).toBe(false);
  rmSync(dirname(filename), { recursive: true });
  expect(judge(sent("CDS", "a", trusting)), "the file is gone").toBeUndefined();
});

test("what could be wrong with what differs is found", () => {
  const one = host("r/a", { domains: ["a.test"], routes: [route("/", "a")] });
  const bad: readonly Sent[] = [
    // Two names, a name that belongs nowhere, a domain twice, none, a character that none may have, and no cluster.
    { ...host("r/a", { domains: ["b.test"], routes: [route("/", "a")] }), name: "r/b" },
    host("b", { domains: ["b.test"], routes: [route("/", "a")] }),
    host("r/b", { domains: ["b.test", "B.test"], routes: [route("/", "a")] }),
    host("r/b", { domains: [], routes: [route("/", "a")] }),
    host("r/b", { domains: ["b\n.test"], routes: [route("/", "a")] }),
    host("r/b", { domains: ["b.test"], routes: [route("/", "")] }),
  ];
  for (const each of bad) {
    expect(judge(each)).toBeUndefined();
    expect(isKnownBy(one, each)).toBe(false);
  }
  const endpoints = sent("EDS", "a", assignment("a", 80));
  const named = create(ClusterLoadAssignmentSchema, {
    clusterName: "a",
    endpoints: [{ lbEndpoints: [{ hostIdentifier: endpointOf("name.test", 80) }] }],
  });
  expect(isKnownBy(endpoints, sent("EDS", "a", named))).toBe(false);
});

test("clusters that are named by weight are not taken for those of a host like it", () => {
  const clusters = [{ name: "a", weight: 1 }];
  const split = create(RouteSchema, {
    match: { pathSpecifier: { case: "prefix", value: "/" } },
    action: { case: "route", value: { clusterSpecifier: { case: "weightedClusters", value: { clusters } } } },
  });
  const one = host("r/a", { domains: ["a.test"], routes: [route("/x", "a"), split] });
  expect(isKnownBy(one, host("r/b", { domains: ["b.test"], routes: [route("/x", "b"), split] }))).toBe(false);
});

test("a port or a weight out of bounds is judged, however it is encoded", () => {
  const weighted = (loadBalancingWeight: number, port: number) =>
    sent(
      "EDS",
      "a",
      create(ClusterLoadAssignmentSchema, {
        clusterName: "a",
        endpoints: [{ lbEndpoints: [{ hostIdentifier: endpointOf("127.0.0.1", port), loadBalancingWeight }] }],
      }),
    );
  const good = weighted(7, 80);
  expect(isKnownBy(good, weighted(1, 65_535))).toBe(true);
  // A 0 that is written out, as protobuf-es doesn't.
  const zero = Buffer.from(good.bytes);
  zero[zero.lastIndexOf(Buffer.from([0x22, 2, 8, 7])) + 3] = 0;
  for (const bad of [weighted(7, 65_536), { ...good, bytes: zero }]) {
    expect(judge(bad)).toBeUndefined();
    expect(isKnownBy(good, bad)).toBe(false);
  }
});

const endpointOf = (address: string, port: number) =>
  ({
    case: "endpoint",
    value: {
      address: {
        address: {
          case: "socketAddress",
          value: { address, portSpecifier: { case: "portValue", value: port } },
        },
      },
    },
  }) as const;

const maybe = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
/** Mostly the first ones, or hardly anything would be good. */
const mostly = <T>(good: readonly T[], bad: readonly T[]) =>
  fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...good) }, { weight: 1, arbitrary: fc.constantFrom(...bad) });
const names = mostly(["r/a", "r/b", "r/c"], ["", "a", "é", "x y"]);

const clusters = fc.record({
  name: names,
  altStatName: mostly(["", "stat"], ["é"]),
  clusterDiscoveryType: fc.record({ case: fc.constant("type" as const), value: mostly([3], [0, 1, 2, 4]) }),
  edsClusterConfig: fc.record({
    serviceName: fc.constantFrom("", "a", "other"),
    edsConfig: mostly([{ configSourceSpecifier: { case: "ads" as const, value: {} } }], [undefined]),
  }),
  connectTimeout: maybe(fc.record({ seconds: mostly([1n], [0n, -1n]), nanos: fc.constant(0) })),
  lbPolicy: mostly([0, 1, 2, 3, 5], [4, 9]),
  respectDnsTtl: fc.boolean(),
});

const endpoints = fc
  .record({
    address: mostly(["10.0.0.1", "10.0.0.2", "::1"], ["name.test", ""]),
    port: mostly([0, 80, 81, 65_535], [65_536]),
    hostname: mostly(["", "h"], ["é"]),
    loadBalancingWeight: maybe(mostly([1, 7, 0xffff_ffff], [0])),
    healthStatus: mostly([0, 1, 2], [6]),
  })
  .map(({ address, port, hostname, ...more }) => {
    const endpoint = endpointOf(address, port);
    return { hostIdentifier: { ...endpoint, value: { ...endpoint.value, hostname } }, ...more };
  });

const assignments = fc.record({
  clusterName: names,
  endpoints: fc.array(
    fc.record({
      priority: mostly([0, 0, 1], [2, 129]),
      lbEndpoints: fc.array(endpoints, { maxLength: 3 }),
      loadBalancingWeight: maybe(mostly([1, 2], [0])),
    }),
    { maxLength: 3 },
  ),
  policy: maybe(fc.record({ overprovisioningFactor: maybe(mostly([140], [0])) })),
});

const actions = fc.oneof(
  fc.record({
    case: fc.constant("route" as const),
    value: fc.record({
      clusterSpecifier: fc.oneof(
        fc.record({ case: fc.constant("cluster" as const), value: names }),
        fc.record({ case: fc.constant("clusterHeader" as const), value: names }),
        fc.record({
          case: fc.constant("weightedClusters" as const),
          value: fc.record({
            clusters: fc.array(fc.record({ name: names, weight: maybe(mostly([1], [0])) }), { maxLength: 2 }),
          }),
        }),
      ),
      prefixRewrite: mostly(["", "/x", "/y"], ["/\n"]),
      timeout: maybe(fc.record({ seconds: mostly([0n, 1n], [-1n]) })),
    }),
  }),
  fc.record({
    case: fc.constant("directResponse" as const),
    value: fc.record({ status: mostly([200, 404], [99]) }),
  }),
  fc.record({
    case: fc.constant("redirect" as const),
    value: fc.record({ hostRedirect: fc.constantFrom("", "a.test"), responseCode: mostly([0, 1], [9]) }),
  }),
);

const routes = fc.record({
  name: fc.constantFrom("", "one", "two"),
  match: fc.record({
    pathSpecifier: fc.oneof(
      fc.record({ case: fc.constantFrom("prefix" as const, "path" as const), value: mostly(["", "/", "/x"], ["/é"]) }),
      fc.record({
        case: fc.constant("pathSeparatedPrefix" as const),
        value: mostly(["/a", "/b"], ["/a/", "/?", "a"]),
      }),
      fc.record({ case: fc.constant("safeRegex" as const), value: fc.record({ regex: mostly(["/a.*"], ["("]) }) }),
    ),
    caseSensitive: maybe(fc.boolean()),
  }),
  action: actions,
});

const hosts = fc.record({
  name: names,
  domains: fc.array(mostly(["a.test", "b.test", "c.test", "*", "*.a.test", "a.*"], ["A.test", "", "a\u0001"]), {
    minLength: 1,
    maxLength: 2,
  }),
  routes: fc.array(routes, { maxLength: 2 }),
  requireTls: mostly([0, 2], [7]),
});

const encoded = <Desc extends DescMessage>(
  shortName: ResourceType["shortName"],
  schema: Desc,
  init: fc.Arbitrary<Init<Desc>>,
) =>
  fc
    .tuple(
      fc.array(init, { minLength: 1, maxLength: 2 }),
      fc.option(fc.tuple(fc.nat(), fc.nat(255)), { nil: undefined, freq: 3 }),
      fc.nat(20),
    )
    .map(([messages, change, otherName]): Sent => {
      // Two messages one behind the other are one, merged.
      const parts = messages.map((message) => toBinary(schema, create(schema, message as never)));
      const bytes = Buffer.concat(otherName < 3 ? parts : parts.slice(0, 1));
      if (change !== undefined && bytes.length > 0) bytes[change[0] % bytes.length] = change[1];
      const first = messages[0] as unknown as { name?: string; clusterName?: string };
      const name = otherName === 20 ? "z" : (first.name ?? first.clusterName ?? "");
      return { type: resourceType(shortName), name, bytes };
    });

test("whatever is known to be good is good, and refers to what it seems to", () => {
  const resources = fc.oneof(
    encoded("CDS", ClusterSchema, clusters as fc.Arbitrary<Init<typeof ClusterSchema>>),
    encoded("EDS", ClusterLoadAssignmentSchema, assignments as fc.Arbitrary<Init<typeof ClusterLoadAssignmentSchema>>),
    encoded("VHDS", VirtualHostSchema, hosts as fc.Arbitrary<Init<typeof VirtualHostSchema>>),
  );
  // Kept from one run to the next, so that there is much that may be taken for known.
  const known = new KnownShapes();
  let found = 0;
  fc.assert(
    fc.property(resources, (resource) => {
      const references = meet(known, resource);
      if (references === undefined) return;
      found++;
      expect(judge(resource)).toEqual(references);
    }),
    { numRuns: 5_000 },
  );
  // A test of nothing otherwise.
  expect(found).toBeGreaterThan(500);
});
