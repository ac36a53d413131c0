import { expect, test } from "vitest";

import { hostProblem, nodeHostProblem, upstreamHostProblem } from "./hosts.ts";

test.each([
  "*",
  "a.com",
  "A.com",
  "*.a.com",
  "*.com",
  "www.*",
  "www.a.*",
  "localhost",
  "10.0.0.1",
  "[::1]",
  "_dns.a.com",
])("a service may answer to %s", (host) => {
  expect(hostProblem(host)).toBeUndefined();
});

test.each([
  ["a.com:80", "names a port"],
  ["::1", "in brackets"],
  ["*a.com", '"*" stands alone'],
  ["a.*.com", '"*" stands alone'],
  ["*.*", '"*" stands alone'],
  ["a..com", "neither"],
  ["a b.com", "neither"],
  ["http://a.com", "neither"],
  ["a.com.", "ends with a dot"],
  ["10.0.0.256", "neither"],
  ["-a.com", "neither"],
  [`${"a".repeat(64)}.com`, "neither"],
])("%s is refused as a host: %s", (host, reason) => {
  expect(hostProblem(host)).toContain(reason);
});

test.each(["a", "a.com", "a.com.", "10.0.0.1", "::1", "2001:db8::1"])("a node may be at %s", (host) => {
  expect(nodeHostProblem(host)).toBeUndefined();
});

test.each([
  ["[::1]", "without brackets"],
  ["a:80", "names a port"],
  ["http://a", "is a URL"],
  ["*.a.com", "neither"],
  ["fe80::1%eth0", "neither"],
])("%s is refused as a node: %s", (host, reason) => {
  expect(nodeHostProblem(host)).toContain(reason);
});

test("a Host to send may have a port", () => {
  for (const host of ["a.com", "a.com:8080", "10.0.0.1:80", "[::1]:80", "[::1]"]) {
    expect(upstreamHostProblem(host)).toBeUndefined();
  }
  for (const host of ["::1", "a.com:0", "a.com:99999", "a b", "a.com:", "*.a.com"]) {
    expect(upstreamHostProblem(host)).toBeDefined();
  }
});
