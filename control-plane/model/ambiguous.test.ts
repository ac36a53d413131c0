import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { type Service, ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { ambiguousRoutes } from "./ambiguous.ts";
import { hostsOf } from "./service-hosts.ts";

const service = (name: string, hosts: string[], ...routes: { [field: string]: JsonValue }[]): Service =>
  fromJson(ServiceSchema, { name, hosts, routes: routes.map((route, at) => ({ name: `${name}-${at}`, ...route })) });

const on = (services: readonly Service[]) => (host: string) => services.filter((each) => hostsOf(each).includes(host));

/** What is found when all of them are written. */
const found = (...services: Service[]) =>
  [...ambiguousRoutes(services, on(services))].flatMap(([{ name }, list]) =>
    list.map(({ message }) => `${name}: ${message}`),
  );

test("two services with one host and one route are told apart by nothing", () => {
  expect(
    found(service("a", ["x.com"], { paths: ["/list"] }), service("b", ["X.com", "y.com"], { paths: ["/list"] })),
  ).toEqual([
    'b: route "b-0" takes the same requests as route "a-0" of service "a" (host "x.com", equal path, methods, vars and ' +
      "priority); tell them apart by one of these, or give one a higher priority",
  ]);
});

test.each<[string, Service, Service]>([
  ["no hosts", service("a", [], { paths: ["/x"] }), service("b", ["*"], { paths: ["/x"] })],
  ["parameters by other names", service("a", [], { paths: ["/:x"] }), service("b", [], { paths: ["/:y"] })],
  [
    "one method in common",
    service("a", [], { paths: ["/x"], methods: ["GET", "PUT"] }),
    service("b", [], { paths: ["/x"], methods: ["PUT"] }),
  ],
  [
    "equal vars",
    service("a", [], { paths: ["/x"], vars: [["http_a", "==", "1"]] }),
    service("b", [], { paths: ["/x"], vars: [["http_a", "==", "1"]] }),
  ],
])("%s: ambiguous", (_, a, b) => {
  expect(found(a, b)).toHaveLength(1);
});

test.each<[string, Service, Service]>([
  ["hosts", service("a", ["x.com"], { paths: ["/x"] }), service("b", ["*.x.com"], { paths: ["/x"] })],
  ["paths", service("a", [], { paths: ["/x"] }), service("b", [], { paths: ["/x/*"] })],
  ["priority", service("a", [], { paths: ["/x"] }), service("b", [], { paths: ["/x"], priority: 1 })],
  [
    "methods",
    service("a", [], { paths: ["/x"], methods: ["GET"] }),
    service("b", [], { paths: ["/x"], methods: ["PUT"] }),
  ],
  ["methods against all", service("a", [], { paths: ["/x"], methods: ["GET"] }), service("b", [], { paths: ["/x"] })],
  ["vars", service("a", [], { paths: ["/x"], vars: [["http_a", "==", "1"]] }), service("b", [], { paths: ["/x"] })],
  ["the switch", service("a", [], { paths: ["/x"], enabled: false }), service("b", [], { paths: ["/x"] })],
])("%s tell routes apart", (_, a, b) => {
  expect(found(a, b)).toEqual([]);
});

test("a pair is told once, however many hosts and paths it meets on, and within a service never", () => {
  const route = { paths: ["/x", "/y"] };
  expect(found(service("a", ["x.com", "y.com"], route), service("b", ["x.com", "y.com"], route))).toHaveLength(1);
  expect(found(service("a", [], route, route))).toEqual([]);
});

test("only what is written is to blame, whichever comes first", () => {
  const [a, b] = [service("a", [], { paths: ["/x"] }), service("b", [], { paths: ["/x"] })];
  expect([...ambiguousRoutes([], on([a, b]))]).toEqual([]);
  expect([...ambiguousRoutes([a], on([a, b])).keys()]).toEqual([a]);
  expect([...ambiguousRoutes([b], on([a, b])).keys()]).toEqual([b]);
});
