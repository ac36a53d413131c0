import { createHash } from "node:crypto";

import { status } from "@grpc/grpc-js";
import { expect, test } from "vitest";

import { groupsOfCertificate, JoinGuard } from "./join.ts";

const digest = (token: string) => createHash("sha256").update(token).digest();
const nobody = { token: undefined, certificateGroups: [] };

test.each([
  ["URI:spiffe://example.org/gateway-group/blue", ["blue"]],
  [
    "DNS:a.test, URI:spiffe://example.org/gateway-group/blue, URI:spiffe://example.org/gateway-group/red",
    ["blue", "red"],
  ],
  // Node quotes what could be read in two ways.
  ['URI:"spiffe://example.org/x, URI:spiffe://example.org/gateway-group/blue"', []],
  ["URI:spiffe://example.org/gateway-group/blue/more", []],
  ["URI:https://example.org/gateway-group/blue", []],
  ["DNS:spiffe://example.org/gateway-group/blue", []],
  [undefined, []],
])("the groups of a certificate with %s", (subjectAltName, groups) => {
  expect(groupsOfCertificate({ subjectAltName })).toEqual(groups);
});

test("an open port takes everybody into groups without tokens, a closed one nobody", () => {
  const [open, closed] = [new JoinGuard(false), new JoinGuard(true)];
  expect(open.refusal("g", nobody)).toBeUndefined();
  expect(closed.refusal("g", nobody)?.code).toBe(status.UNAUTHENTICATED);
  expect(closed.refusal("g", { ...nobody, token: "t" })?.code).toBe(status.PERMISSION_DENIED);
  for (const guard of [open, closed]) {
    guard.setTokens(new Map([["g", [digest("t"), digest("u")]]]));
    expect(guard.refusal("g", nobody)?.code).toBe(status.UNAUTHENTICATED);
    for (const token of ["t", "u"]) expect(guard.refusal("g", { ...nobody, token })).toBeUndefined();
    expect(guard.refusal("g", { ...nobody, token: "v" })?.code).toBe(status.PERMISSION_DENIED);
    expect(guard.refusal("g", { ...nobody, certificateGroups: ["g"] })).toBeUndefined();
    expect(guard.refusal("g", { ...nobody, certificateGroups: ["h"] })?.details).toMatch(/^the certificate is not for/);
  }
});
