import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, expect, test } from "vitest";

import { GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";
import { Balance, RetryOn } from "#sluice/model/v1/upstream_pb.ts";

import { formatProblem } from "./errors.ts";
import { type GatewayRead, readGateway, readGatewayFile } from "./gateway-file.ts";

const directory = mkdtempSync(join(tmpdir(), "sluice-gateway-file-"));
afterAll(() => rmSync(directory, { recursive: true }));

const read = (...texts: string[]) => readGateway(texts.map((text, at) => ({ path: `${"gxyz"[at]}.yaml`, text })));

const problems = (result: GatewayRead) => (result.ok ? [] : result.problems.map(formatProblem));

const gateway = (result: GatewayRead) => {
  expect(problems(result)).toEqual([]);
  if (!result.ok) throw new Error("has problems");
  return result.gateway;
};

test("the example of the documentation is read as it is", async () => {
  const { gatewayGroups, services } = gateway(
    await readGatewayFile(join(import.meta.dirname, "testdata/gateway.yaml")),
  );
  expect(gatewayGroups[0]?.listeners[0]).toMatchObject({ name: "http", protocol: 1, address: "127.0.0.1", port: 9080 });
  const [orders, shop] = services;
  expect(orders).toMatchObject({ name: "orders", labels: { team: "shop" }, pathPrefix: "/api", stripPathPrefix: true });
  expect(orders?.upstreams[0]).toMatchObject({
    balance: Balance.ROUND_ROBIN,
    nodes: [
      { port: 9101, weight: 3 },
      { port: 9102, weight: 1 },
    ],
    timeouts: { connect: { seconds: 1n }, request: { seconds: 15n } },
  });
  expect(orders?.upstreams[1]?.hashOn?.key).toEqual({ case: "header", value: "x-user" });
  expect(orders?.routes[1]?.vars?.values).toHaveLength(2);
  expect(shop?.routes[0]?.paths).toEqual(["/*"]);
});

test("an enum value is written short or in full", () => {
  const [service] = gateway(
    read("services: [{ name: s, upstreams: [{ name: u, balance: BALANCE_RANDOM, retryOn: [5xx, gateway_error] }] }]"),
  ).services;
  expect(service?.upstreams[0]?.balance).toBe(Balance.RANDOM);
  expect(service?.upstreams[0]?.retryOn).toEqual([RetryOn.RETRY_ON_5XX, RetryOn.RETRY_ON_GATEWAY_ERROR]);
});

test("documents and files are one gateway", () => {
  const result = read("services:\n  - name: a\n---\nservices:\n  - name: b\n", '{"services": [{"name": "c"}]}');
  expect(gateway(result).services.map(({ name }) => name)).toEqual(["a", "b", "c"]);
  if (!result.ok) return;
  expect(result.source.locate("services[1].name")).toEqual({ file: "g.yaml", line: 5, column: 11 });
  expect(result.source.locate("services[2]")).toEqual({ file: "x.yaml", line: 1, column: 15 });
});

test("all gateway files of a directory are read, by name, without hidden ones", async () => {
  const path = join(directory, "many");
  mkdirSync(join(path, "sub"), { recursive: true });
  writeFileSync(join(path, "b.yml"), "services: [{ name: b }]");
  writeFileSync(join(path, "a.yaml"), "services: [{ name: a }]");
  writeFileSync(join(path, "c.json"), '{"services":\n\t[{"name": "c"}]}');
  writeFileSync(join(path, ".d.yaml"), "services: [{ name: d }]");
  writeFileSync(join(path, "notes.txt"), "not a gateway");
  expect(gateway(await readGatewayFile(path)).services.map(({ name }) => name)).toEqual(["a", "b", "c"]);
});

test("a path that leads nowhere is a problem", async () => {
  const path = join(directory, "nowhere.yaml");
  expect(problems(await readGatewayFile(path))).toEqual([`${path}: no such file or directory`]);
});

test.each([
  [
    "unknown field",
    "services:\n  - name: s\n    path_prefix: /a",
    "g.yaml:3:5: services[s].path_prefix: is no field of a service; did you mean pathPrefix?",
  ],
  ["unknown field at the top", "service: []", "g.yaml:1:1: service: is no field of a gateway; did you mean services?"],
  [
    "unknown field like no other",
    "services: [{ name: s, upstreams: [{ name: u, tls: { qqqqqq: 1 } }] }]",
    "g.yaml:1:53: services[s].upstreams[u].tls.qqqqqq: is no field of an upstream tls; it has sni, verify, caCertificates, subjectAltNames, ca and clientCertificate",
  ],
  [
    "number for a text",
    "services: [{ name: s, labels: { v: 1.10 } }]",
    'g.yaml:1:36: services[s].labels[v]: must be a text; write "1.10" in quotes',
  ],
  [
    "text for a number",
    'services: [{ name: s, upstreams: [{ name: u, nodes: [{ host: h, port: "80" }] }] }]',
    "g.yaml:1:71: services[s].upstreams[u].nodes[0].port: must be a whole number, without quotes",
  ],
  [
    "part of a number",
    "services: [{ name: s, routes: [{ name: r, priority: 1.5 }] }]",
    "g.yaml:1:53: services[s].routes[r].priority: must be a whole number",
  ],
  [
    "number out of bounds",
    "services: [{ name: s, routes: [{ name: r, priority: 3000000000 }] }]",
    "g.yaml:1:53: services[s].routes[r].priority: must be from -2147483648 to 2147483647",
  ],
  [
    "yes for true",
    "services: [{ name: s, stripPathPrefix: yes }]",
    "g.yaml:1:40: services[s].stripPathPrefix: must be true or false, without quotes",
  ],
  [
    "unknown enum value",
    "services: [{ name: s, upstreams: [{ name: u, balance: roundrobin }] }]",
    "g.yaml:1:55: services[s].upstreams[u].balance: must be round_robin, least_request, consistent_hash or random; did you mean round_robin?",
  ],
  [
    "unspecified enum value",
    "services: [{ name: s, upstreams: [{ name: u, balance: unspecified }] }]",
    "g.yaml:1:55: services[s].upstreams[u].balance: must be round_robin, least_request, consistent_hash or random",
  ],
  [
    "duration without a unit",
    "services: [{ name: s, routes: [{ name: r, timeouts: { idle: 5 } }] }]",
    'g.yaml:1:61: services[s].routes[r].timeouts.idle: has no unit; a duration is written like "500ms", "1.5s", "1m30s" or "2h"',
  ],
  [
    "no duration",
    "services: [{ name: s, routes: [{ name: r, timeouts: { idle: soon } }] }]",
    'g.yaml:1:61: services[s].routes[r].timeouts.idle: must be a duration like "500ms", "1.5s", "1m30s" or "2h"',
  ],
  [
    "text for a list",
    "services: [{ name: s, hosts: a.example }]",
    "g.yaml:1:30: services[s].hosts: must be a list: [a, b], or a line with - for each element",
  ],
  [
    "list for a mapping",
    "services: [{ name: s, labels: [a] }]",
    "g.yaml:1:31: services[s].labels: must be a mapping: { key: value }",
  ],
  ["text for a message", "services: [s]", "g.yaml:1:12: services[0]: must be a mapping of service fields"],
  [
    "list as a document",
    "- a",
    "g.yaml:1:1: must be a mapping with gatewayGroups, services, registries, certificates and caCertificates",
  ],
  [
    "key without a value",
    "services:\n  - name: s\n    routes:\n    hosts: [h]",
    "g.yaml:3:5: services[s].routes: has no value; write [], or leave the line out",
  ],
  [
    "two of a oneof",
    "services: [{ name: s, upstreams: [{ name: u, hashOn: { header: a, cookie: b } }] }]",
    "g.yaml:1:67: services[s].upstreams[u].hashOn.cookie: stands beside header; give only one of header, cookie, source or path",
  ],
  ["duplicate key", "services:\n  - name: s\n    name: t", "g.yaml:3:5: is a key that this mapping has already"],
  ["unknown anchor", "services: [*none]", "g.yaml:1:12: *none names no anchor before it"],
  [
    "alias inside its own anchor",
    "services: &a\n  - name: s\n    labels: *a",
    "g.yaml:3:13: *a stands inside the value that it names",
  ],
  ["tag", "services: [{ name: !secret s }]", "g.yaml:1:20: Unresolved tag: !secret"],
  ["nothing", "# nothing yet\n", "g.yaml:1:1: is empty; for a gateway without services write services: []"],
])("%s", (_, text, problem) => {
  expect(problems(read(text))).toContain(problem);
});

test("what is not YAML is told at its place", () => {
  expect(problems(read("services:\n  - name: s\n   hosts: [a]\n"))[0]).toMatch(/^g\.yaml:3:\d+: /);
  expect(problems(read("services: [\n"))[0]).toMatch(/^g\.yaml:\d+:\d+: /);
});

test("all problems come at once, from top to bottom", () => {
  const text = "services:\n  - name: s\n    name: t\n    host: []\n  - name: 5\n    routes: {}\n";
  expect(problems(read(text)).map((line) => line.split(":")[1])).toEqual(["3", "4", "5", "6"]);
});

test("a text with a BOM and Windows line ends is read", () => {
  expect(gateway(read("\uFEFFservices:\r\n  - name: s\r\n")).services[0]?.name).toBe("s");
});

test("aliases and merges repeat what they name, and what is written out wins", () => {
  const { services } = gateway(
    read(
      "services:\n  - &base\n    name: a\n    hosts: &hosts [x.example]\n  - { <<: *base, name: b }\n  - { name: c, hosts: *hosts }",
    ),
  );
  expect(services.map(({ name, hosts }) => [name, hosts])).toEqual([
    ["a", ["x.example"]],
    ["b", ["x.example"]],
    ["c", ["x.example"]],
  ]);
});

test("aliases that multiply are refused, not expanded", () => {
  const levels = Array.from({ length: 30 }, (_, at) => `a${at}: &a${at} [${`*a${at - 1}, `.repeat(9)}]`);
  const text = `services:\n  - name: s\n    routes:\n      - name: r\n        vars:\n          - &a0 [1]\n${levels
    .slice(1)
    .map((line) => `          - ${line.slice(line.indexOf("&"))}\n`)
    .join("")}`;
  expect(
    problems(read(text)).some((line) => line.endsWith("its aliases make the file more than ten times as large")),
  ).toBe(true);
});

test("deep nesting is refused, not followed", () => {
  const text = `services: [{ name: s, routes: [{ name: r, vars: ${"[".repeat(200)}${"]".repeat(200)} }] }]`;
  expect(problems(read(text))[0]).toMatch(/nested/);
  expect(problems(read("[".repeat(20_000)))[0]).toMatch(/^g\.yaml:/);
});

test("the server's complaints are found again in the file", async () => {
  const result = await readGatewayFile(join(import.meta.dirname, "testdata/gateway.yaml"));
  if (!result.ok) throw new Error("has problems");
  const at = (field: string) => {
    const { position, field: words } = result.source.toFileProblem({ field, message: "" });
    return `${position?.line}:${position?.column} ${words}`;
  };
  expect(at("services[0].routes[0].paths[1]")).toBe("32:24 services[orders].routes[list].paths[1]");
  expect(at('services[0].labels["team"]')).toBe("11:21 services[orders].labels.team");
  // What is not written has the place of what it should stand in.
  expect(at("services[0].upstreams[1].hash_on.cookie")).toBe("25:17 services[orders].upstreams[reports].hashOn.cookie");
  expect(at("services[1].path_prefix")).toBe("42:5 services[shop-front].pathPrefix");
  expect(at("services[9].name")).toBe("undefined:undefined services[9][name]");
});

test("an object that the server's words name by its index is told by name and place", () => {
  const result = read("services: [{ name: a }]", "services:\n  - name: b\n  - name: a");
  if (!result.ok) throw new Error("has problems");
  const message = "services[0] has the same name; names are unique";
  expect(formatProblem(result.source.toFileProblem({ field: "services[2].name", message }))).toBe(
    "x.yaml:3:11: services[a].name: services[a] (g.yaml:1) has the same name; names are unique",
  );
});

test("nesting has a bound that the server shares, so that it is told with its place", () => {
  const nested = (levels: number) =>
    `services: [{ name: s, routes: [{ name: r, vars: [${"[AND, ".repeat(levels)}1${"]".repeat(levels)}] }] }]`;
  const binary = toBinary(GatewaySchema, gateway(read(nested(30))));
  expect(fromBinary(GatewaySchema, binary).services).toHaveLength(1);
  expect(problems(read(nested(60)))).toContain("g.yaml:1:255: is nested more than 40 levels deep");
  expect(problems(read(nested(5_000)))[0]).toMatch(/^g\.yaml:1:\d+: is nested too deeply$/);
});
