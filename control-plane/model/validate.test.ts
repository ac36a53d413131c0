import { generateKeyPairSync } from "node:crypto";

import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { RegistrySchema } from "#sluice/model/v1/registry_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { objectOf, type StoredObject } from "./objects.ts";
import { stateOf } from "./testing/state.ts";
import { validate, type WrittenObject } from "./validate.ts";

/** Problems as text, with the group "default" and whatever is written there. */
function problemsOf(...objects: StoredObject[]): string[] {
  const fallback = objectOf("gatewayGroup", create(GatewayGroupSchema, { name: "default" }));
  const written = objects.map((object, at): WrittenObject => ({ object, field: `objects[${at}]` }));
  const problems = validate(written, stateOf([fallback, ...objects]));
  return problems.map(({ field, reason, message }) =>
    `${field.replace("objects[0]", "")} ${reason}: ${message}`.trim(),
  );
}

const service = (json: { [field: string]: JsonValue }): StoredObject => ({
  kind: "service",
  value: fromJson(ServiceSchema, { name: "shop", upstreams: [{ name: "default" }], ...json }),
});

const group = (json: { [field: string]: JsonValue }): StoredObject => ({
  kind: "gatewayGroup",
  value: fromJson(GatewayGroupSchema, { name: "edge", ...json }),
});

const upstream = (json: { [field: string]: JsonValue }) => service({ upstreams: [{ name: "default", ...json }] });
const routes = (...list: JsonValue[]) => service({ routes: list });

test("what is right has no problems", () => {
  expect(problemsOf(group({}), service({ routes: [{ name: "all", paths: ["/*"] }] }))).toEqual([]);
});

const registry = (json: { [field: string]: JsonValue }) =>
  objectOf("registry", fromJson(RegistrySchema, { name: "r", ...json }));

const discovered = (
  discovery: JsonValue,
  kind: { [field: string]: JsonValue },
  more: { [field: string]: JsonValue } = {},
) => problemsOf(service({ upstreams: [{ name: "default", discovery, ...more }] }), registry(kind));

test.each<[string, StoredObject, string]>([
  ["a registry without a kind", registry({}), "required: must be set"],
  [
    "an address that is none",
    registry({ consul: { addresses: ["consul:8500"] } }),
    '.consul.addresses[0] invalid_url: "consul:8500" is no address',
  ],
  [
    "a gRPC port beyond all ports",
    registry({ nacos: { addresses: ["http://nacos:8848"], grpcPortOffset: 60_000 } }),
    ".nacos.grpcPortOffset out_of_range: added to the port of addresses[0] is no port",
  ],
  [
    "a collector without a port",
    group({ tracing: { collector: "otel" } }),
    '.tracing.collector invalid_address: "otel" is no "HOST:PORT", such as otel-collector:4317',
  ],
  [
    "an access log's collector that is neither an address nor the control plane",
    group({ accessLog: { collector: "controlplane" } }),
    '.accessLog.collector invalid_address: "controlplane" is no "HOST:PORT", such as otel-collector:4317, nor "control-plane"',
  ],
  [
    "traces for the control plane, which takes none",
    group({ tracing: { collector: "control-plane" } }),
    ".tracing.collector invalid_address",
  ],
  [
    "a share above all",
    group({ tracing: { collector: "otel:4317", samplingPercent: 101 } }),
    ".tracing.samplingPercent out_of_range",
  ],
  [
    "lines for a collector",
    group({ accessLog: { collector: "[::1]:9000", text: "a" } }),
    ".accessLog.text not_applicable: is for lines; set path beside collector, or leave it out",
  ],
  [
    "a prefix for a path with a parameter",
    routes({ name: "r", paths: ["/a/:id"], redirect: { prefix: "/b" } }),
    '.routes[0].redirect.prefix not_applicable: is for paths without parameters, and "/a/:id" has one',
  ],
  [
    "a password in an address",
    registry({ consul: { addresses: ["http://u:p@consul:8500"] } }),
    ".consul.addresses[0] credentials_in_url: holds a name or password",
  ],
  [
    "a user without a password",
    registry({ nacos: { addresses: ["http://nacos:8848"], username: "u" } }),
    ".nacos.password required: must be set beside username",
  ],
  [
    "TLS for plain addresses",
    registry({ consul: { addresses: ["http://consul:8500"], tls: {} } }),
    ".consul.tls not_applicable: is for addresses that begin with https",
  ],
  [
    "a context without a kubeconfig",
    registry({ kubernetes: { inCluster: true, context: "c" } }),
    ".kubernetes.context not_applicable",
  ],
  ["a name for a name server", registry({ dns: { resolvers: ["dns.test"] } }), ".dns.resolvers[0] invalid_address"],
  [
    "a secret that says nothing",
    registry({ consul: { addresses: ["http://consul:8500"], token: {} } }),
    ".consul.token required: must be set",
  ],
  [
    "a protocol that nobody negotiates",
    upstream({ protocol: "UPSTREAM_PROTOCOL_AUTO" }),
    ".upstreams[0].protocol not_applicable: auto is what TLS negotiates",
  ],
  [
    "an upstream beside a redirect",
    routes({ name: "r", paths: ["/"], upstream: "default", redirect: { scheme: "https" } }),
    ".routes[0].upstream not_applicable: has no effect beside redirect",
  ],
  [
    "a redirect to itself",
    routes({ name: "r", paths: ["/"], redirect: {} }),
    ".routes[0].redirect required: leads to where it came from",
  ],
  [
    "a redirect that is none",
    routes({ name: "r", paths: ["/"], redirect: { path: "/a", status: 200 } }),
    ".routes[0].redirect.status out_of_range: 200 is no redirect",
  ],
  [
    "an operator that data planes don't know",
    service({ requestHeaders: { set: { "x-a": "%CLIENT%" } } }),
    '.requestHeaders.set["x-a"] invalid_format: "%CLIENT%" is no command operator',
  ],
  [
    "a host among the headers",
    service({ requestHeaders: { remove: ["Host"] } }),
    ".requestHeaders.remove[0] not_applicable",
  ],
  [
    "TLS on a listener without it",
    group({ listeners: [{ name: "l", port: 1, tls: {} }] }),
    ".listeners[0].tls not_applicable: is for protocol https only",
  ],
  [
    "an unknown certificate",
    group({ listeners: [{ name: "l", port: 1, protocol: "LISTENER_PROTOCOL_HTTPS", tls: { certificates: ["c"] } }] }),
    '.listeners[0].tls.certificates[0] unknown_certificate: gateway group "edge" has no certificate "c"',
  ],
  [
    "a log of two formats",
    group({ accessLog: { text: "a", fields: { a: "b" } } }),
    ".accessLog.text not_applicable: stands beside fields",
  ],
  [
    "a local reply that changes nothing",
    group({ localReplies: [{ minStatus: 500 }] }),
    ".localReplies[0] required: changes nothing",
  ],
])("%s", (_, object, problem) => {
  expect(problemsOf(object)).toContainEqual(expect.stringContaining(problem));
});

test("what discovery says fits the kind of its registry", () => {
  const consul = { consul: { addresses: ["http://consul:8500"] } };
  expect(discovered({ registry: "r", service: "orders", tags: ["v2"], cluster: "dc2" }, consul)).toEqual([]);
  expect(discovered({ registry: "r", service: "orders", portName: "http" }, consul)).toEqual([
    expect.stringContaining('.upstreams[0].discovery.portName not_applicable: registry "r" is of kind consul'),
  ]);
  expect(discovered({ registry: "x", service: "orders" }, consul)).toEqual([
    expect.stringContaining(
      '.upstreams[0].discovery.registry unknown_registry: gateway group "default" has no registry "x"',
    ),
  ]);
  expect(discovered({ registry: "r", service: "a", namespace: "b" }, { kubernetes: { namespaces: ["a"] } })).toEqual([
    expect.stringContaining(".upstreams[0].discovery.namespace unknown_namespace"),
  ]);
  expect(discovered({ registry: "r", service: "a.test" }, { dns: {} })).toEqual([
    expect.stringContaining(".upstreams[0].discovery.port required"),
  ]);
  expect(discovered({ registry: "r", service: "_http._tcp.a.test" }, { dns: {} })).toEqual([]);
  expect(discovered({ registry: "r", service: "a" }, consul, { nodes: [{ host: "name.test", port: 1 }] })).toEqual([
    expect.stringContaining(".upstreams[0].nodes[0].host invalid_host"),
  ]);
  // The addresses of nodes beside it are none that instances' certificates are for.
  for (const nodes of [[], [{ host: "10.0.0.1", port: 1 }]]) {
    expect(discovered({ registry: "r", service: "a" }, consul, { tls: {}, nodes })).toEqual([
      expect.stringContaining(".upstreams[0].tls.sni required"),
    ]);
  }
});

test.each<[string, StoredObject, string]>([
  ["a name with spaces", service({ name: "a b" }), '.name invalid_format: "a b" is not a name'],
  ["no name", service({ name: "" }), ".name required: must be set"],
  ["a long name", service({ name: "a".repeat(101) }), ".name too_long"],
  [
    "a label with spaces",
    service({ labels: { team: "a b" } }),
    '.labels["team"] invalid_format: "a b" must not hold spaces',
  ],
  [
    "a port out of range",
    upstream({ nodes: [{ host: "a", port: 70000 }] }),
    ".upstreams[0].nodes[0].port out_of_range: 70000",
  ],
  ["an unknown balance", upstream({ balance: 99 }), ".upstreams[0].balance unknown_value"],
  ["a route without paths", routes({ name: "r" }), ".routes[0].paths required"],
  [
    "a method in lower case",
    routes({ name: "r", paths: ["/"], methods: ["get"] }),
    '.routes[0].methods[0] invalid_format: "get"',
  ],
  [
    "a path without a slash",
    routes({ name: "r", paths: ["x"] }),
    '.routes[0].paths[0] invalid_format: "x" must start with "/"',
  ],
  [
    "a group that is not there",
    service({ gatewayGroup: "x" }),
    '.gatewayGroup unknown_gateway_group: there is no gateway group "x"',
  ],
  ["a host with a port", service({ hosts: ["a:80"] }), ".hosts[0] invalid_host"],
  ["one host in two spellings", service({ hosts: ["a.com", "A.com"] }), ".hosts[1] duplicate"],
  ["one host twice", service({ hosts: ["a.com", "a.com"] }), ".hosts duplicate"],
  ["a prefix with a slash at its end", service({ pathPrefix: "/a/" }), ".pathPrefix invalid_path"],
  ["two upstreams of one name", service({ upstreams: [{ name: "x" }, { name: "x" }] }), ".upstreams[1].name duplicate"],
  [
    "two routes of one name",
    routes({ name: "r", paths: ["/a"] }, { name: "r", paths: ["/b"] }),
    ".routes[1].name duplicate",
  ],
  [
    "an unknown upstream",
    routes({ name: "r", paths: ["/"], upstream: "x" }),
    '.routes[0].upstream unknown_upstream: the service has no upstream "x"; it has "default"',
  ],
  [
    "copies to an unknown upstream",
    routes({ name: "r", paths: ["/"], mirrors: [{ upstream: "default" }, { upstream: "x" }] }),
    '.routes[0].mirrors[1].upstream unknown_upstream: the service has no upstream "x"; it has "default"',
  ],
  [
    "copies of what no upstream gets",
    routes({ name: "r", paths: ["/"], directResponse: { status: 200 }, mirrors: [{ upstream: "default" }] }),
    ".routes[0].mirrors no_upstream: a route that answers by itself has nothing to copy",
  ],
  [
    "no default upstream",
    service({ upstreams: [], routes: [{ name: "r", paths: ["/"] }] }),
    ".routes[0].upstream unknown_upstream: the route names no upstream",
  ],
  ["a bad path", routes({ name: "r", paths: ["/a*"] }), ".routes[0].paths[0] invalid_path"],
  ["bad vars", routes({ name: "r", paths: ["/"], vars: [["http_a", "=", "1"]] }), ".routes[0].vars[0][1] invalid_vars"],
  ["a hash without a key", upstream({ balance: "BALANCE_CONSISTENT_HASH" }), ".upstreams[0].hashOn required"],
  ["a hash of nothing", upstream({ balance: "BALANCE_CONSISTENT_HASH", hashOn: {} }), ".upstreams[0].hashOn required"],
  ["a key without a hash", upstream({ hashOn: { source: true } }), ".upstreams[0].hashOn not_applicable"],
  ["a rewrite to nothing", upstream({ passHost: "PASS_HOST_REWRITE" }), ".upstreams[0].upstreamHost required"],
  ["a host that is not used", upstream({ upstreamHost: "a" }), ".upstreams[0].upstreamHost not_applicable"],
  [
    "a node that is a URL",
    upstream({ nodes: [{ host: "http://a", port: 1 }] }),
    ".upstreams[0].nodes[0].host invalid_host",
  ],
  [
    "one node twice",
    upstream({
      nodes: [
        { host: "a", port: 1 },
        { host: "A", port: 1 },
      ],
    }),
    ".upstreams[0].nodes[1] duplicate",
  ],
  [
    "more weight than data planes can add up",
    upstream({
      nodes: Array.from({ length: 4_295 }, (_, at) => ({
        host: `10.1.0.${at % 250}`,
        port: 1 + at,
        weight: 1_000_000,
      })),
    }),
    ".upstreams[0].nodes out_of_range: the nodes of priority 0 weigh 4295000000 together",
  ],
  ["conditions without retries", upstream({ retryOn: ["RETRY_ON_5XX"] }), ".upstreams[0].retryOn not_applicable"],
  [
    "a time for each of no retries",
    upstream({ timeouts: { perTry: "1s" } }),
    ".upstreams[0].timeouts.perTry not_applicable: has no effect without retries",
  ],
  [
    "names of a certificate that nobody checks",
    upstream({ tls: { verify: false, subjectAltNames: ["a.test"] } }),
    ".upstreams[0].tls.subjectAltNames not_applicable: is not used with verify: false",
  ],
  [
    "an offer of what is switched off",
    group({
      listeners: [{ name: "l", port: 1, protocol: "LISTENER_PROTOCOL_HTTPS", http2: false, tls: { alpn: ["h2"] } }],
    }),
    ".listeners[0].tls.alpn not_applicable: offers h2, which http2: false forbids",
  ],
  [
    "headers of a request that goes nowhere",
    routes({ name: "r", paths: ["/"], directResponse: { status: 200 }, requestHeaders: { set: { "x-a": "1" } } }),
    ".routes[0].requestHeaders not_applicable: has no effect beside directResponse",
  ],
  [
    "two ports of a redirect",
    routes({ name: "r", paths: ["/"], redirect: { host: "[::1]:8443", port: 443 } }),
    '.routes[0].redirect.port not_applicable: "[::1]:8443" names a port too',
  ],
  ["a timeout of nothing", upstream({ timeouts: { connect: "0s" } }), ".upstreams[0].timeouts.connect out_of_range"],
  [
    "authorities that are none",
    upstream({ tls: { caCertificates: "x" } }),
    ".upstreams[0].tls.caCertificates invalid_pem",
  ],
  ["an address as server name", upstream({ tls: { sni: "10.0.0.1" } }), ".upstreams[0].tls.sni invalid_host"],
  [
    "TLS to several names",
    upstream({
      tls: {},
      nodes: [
        { host: "a", port: 1 },
        { host: "b", port: 1 },
      ],
    }),
    ".upstreams[0].tls.sni required",
  ],
  [
    "what a trial does without one",
    group({ rollout: { trialTimeout: "5s" } }),
    ".rollout.trialTimeout no_trial: means something only with publishToOneFirst",
  ],
  [
    "a listener by name",
    group({ listeners: [{ name: "l", port: 1, address: "localhost" }] }),
    ".listeners[0].address invalid_address",
  ],
  [
    "two listeners of one name",
    group({
      listeners: [
        { name: "l", port: 1 },
        { name: "l", port: 2 },
      ],
    }),
    ".listeners[1].name duplicate",
  ],
])("%s is refused", (_, object, expected) => {
  const problems = problemsOf(object);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(expected);
});

test("a port can be taken once, on an address or on all", () => {
  const listeners = (...addresses: string[]) =>
    problemsOf(group({ listeners: addresses.map((address, at) => ({ name: `l${at}`, address, port: 80 })) }));
  expect(listeners("10.0.0.1", "10.0.0.2")).toEqual([]);
  for (const [a, b] of [
    ["10.0.0.1", "10.0.0.1"],
    ["0.0.0.0", "10.0.0.1"],
    ["", "127.0.0.1"],
    ["::1", "0:0::1"],
    ["10.0.0.1", "::"],
  ]) {
    expect(listeners(a ?? "", b ?? "")[0]).toContain(
      ".listeners[1].port duplicate_listener: port 80 is taken by listener",
    );
  }
});

test("a private key among the authorities is refused, and not shown", () => {
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = String(privateKey.export({ type: "pkcs8", format: "pem" }));
  const problems = problemsOf(upstream({ tls: { caCertificates: pem } }));
  expect(problems).toHaveLength(1);
  expect(problems[0]).not.toContain(pem.split("\n")[1]);
});

test("an object that is written twice is refused", () => {
  expect(problemsOf(service({}), service({ gatewayGroup: "default" }))).toEqual([
    "objects[1].name duplicate: objects[0] has the same name; names are unique",
  ]);
});

test("all problems of all objects are found at once", () => {
  const wrong = service({ hosts: ["a:1"], upstreams: [], routes: [{ name: "r", paths: ["/a*", "x"] }] });
  expect(problemsOf(wrong, group({ listeners: [{ name: "l", address: "x", port: 0 }] }))).toHaveLength(6);
});

const reachable = (...list: JsonValue[]) =>
  problemsOf(routes(...list)).filter((text) => text.includes("unreachable_route"));

test("a route that another takes all requests of is named, and so is the other", () => {
  expect(
    reachable({ name: "a", paths: ["/x", "/y"] }, { name: "b", paths: ["/y"], methods: ["GET"], priority: -1 }),
  ).toEqual([
    [
      '.routes[1] unreachable_route: route "b" can never be reached:',
      '"a" of the same service takes all its requests first;',
      "give it a higher priority, vars or another path",
    ].join(" "),
  ]);
  const both = reachable(
    { name: "a", paths: ["/x"], methods: ["GET"], priority: 1 },
    { name: "b", paths: ["/x"], methods: ["POST"], priority: 1 },
    { name: "c", paths: ["/x"], methods: ["POST", "GET"] },
  );
  expect(both[0]).toContain('"b" and "a" of the same service take');
  expect(reachable({ name: "a", paths: ["/:x"] }, { name: "b", paths: ["/:y"] })[0]).toContain(".routes[1]");
});

test("a route with anything left to take is reachable", () => {
  const vars = [["http_a", "==", "1"]];
  expect(reachable({ name: "a", paths: ["/*"] }, { name: "b", paths: ["/x"] })).toEqual([]);
  expect(reachable({ name: "a", paths: ["/x"] }, { name: "b", paths: ["/x", "/y"] })).toEqual([]);
  expect(reachable({ name: "a", paths: ["/x"] }, { name: "b", paths: ["/x"], vars })).toEqual([]);
  expect(reachable({ name: "a", paths: ["/x"] }, { name: "b", paths: ["/x"], methods: ["GET"] })).toEqual([]);
  expect(
    reachable({ name: "a", paths: ["/x"], methods: ["GET"] }, { name: "b", paths: ["/x"], methods: ["GET", "POST"] }),
  ).toEqual([]);
  expect(reachable({ name: "a", paths: ["/x"], vars }, { name: "b", paths: ["/x"] })).toEqual([]);
  expect(reachable({ name: "a", paths: ["/x"], enabled: false }, { name: "b", paths: ["/x"] })).toEqual([]);
});
