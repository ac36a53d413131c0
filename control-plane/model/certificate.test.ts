import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { CertificateSchema } from "#sluice/model/v1/certificate_pb.ts";
import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";

import { TestAuthority, type TestCertificate } from "../../test/support/certificates.ts";
import { certificateFacts } from "./certificate.ts";
import { objectOf, type StoredObject } from "./objects.ts";
import { stateOf } from "./testing/state.ts";
import { validate } from "./validate.ts";

const authority = new TestAuthority();
const shop = authority.issue({
  name: "shop",
  altNames: ["DNS:Shop.test", "DNS:*.shop.test", "IP:127.0.0.1"],
  type: "ec",
});
const rsa = authority.issue({ name: "shop", altNames: ["DNS:shop.test"], type: "rsa" });
const other = authority.issue({ name: "other", altNames: ["DNS:other.test"], type: "ec" });

const certificate = (name: string, { cert, key }: TestCertificate, snis: string[] = []) =>
  create(CertificateSchema, {
    name,
    certificateChain: cert,
    privateKey: { source: { case: "value", value: key } },
    snis,
  });

function problemsOf(...certificates: ReturnType<typeof certificate>[]): string[] {
  const group = objectOf("gatewayGroup", create(GatewayGroupSchema, { name: "default" }));
  const objects: StoredObject[] = certificates.map((value) => objectOf("certificate", value));
  const written = objects.map((object) => ({ object, field: object.value.name }));
  return validate(written, stateOf([group, ...objects])).map(({ field, reason }) => `${field} ${reason}`);
}

test("a certificate answers to its DNS names, and to those that the operator gives instead", () => {
  expect(certificateFacts(certificate("a", shop))).toEqual({ snis: ["shop.test", "*.shop.test"], keyType: "ec" });
  expect(certificateFacts(certificate("a", rsa, ["WWW.test"]))).toEqual({ snis: ["www.test"], keyType: "rsa" });
  const bare = authority.issue({ name: "bare", altNames: ["IP:127.0.0.1"], type: "ec" });
  expect(certificateFacts(certificate("a", bare))?.snis).toEqual(["*"]);
});

test("key and certificate must be a pair, in PEM, and the chain in order", () => {
  expect(problemsOf(certificate("a", shop))).toEqual([]);
  expect(problemsOf(certificate("a", { ...shop, key: other.key }))).toEqual(["a.privateKey.value key_mismatch"]);
  expect(problemsOf(certificate("a", { ...shop, key: "secret" }))).toEqual(["a.privateKey.value invalid_pem"]);
  expect(problemsOf(certificate("a", { ...shop, cert: "text" }))).toEqual(["a.certificateChain invalid_pem"]);
  expect(problemsOf(certificate("a", { ...shop, cert: shop.cert + authority.cert }))).toEqual([]);
  expect(problemsOf(certificate("a", { ...shop, cert: shop.cert + other.cert }))).toEqual([
    "a.certificateChain chain_order",
  ]);
});

test("a server name has one certificate of each key type", () => {
  expect(problemsOf(certificate("a", shop), certificate("b", rsa))).toEqual([]);
  expect(problemsOf(certificate("a", shop), certificate("b", other, ["*.shop.test"]))).toEqual([
    "a.snis duplicate_sni",
    "b.snis duplicate_sni",
  ]);
});

test("no problem tells anything of a key", () => {
  const written = objectOf("certificate", certificate("a", { ...shop, key: "-----BEGIN PRIVATE KEY-----hidden" }));
  const problems = validate([{ object: written, field: "a" }], stateOf([written]));
  expect(problems.length).toBeGreaterThan(0);
  expect(JSON.stringify(problems)).not.toContain("hidden");
});
