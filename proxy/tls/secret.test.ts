import { X509Certificate } from "node:crypto";

import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { afterAll, expect, test } from "vitest";

import { SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";

import { TestAuthority } from "../../test/support/certificates.ts";
import { compileSecret } from "./secret.ts";
import { dnsNameCovers, subjectAltNames } from "./subject-alt-name.ts";
import { type PeerValidation, peerProblem } from "./validation.ts";

const authority = new TestAuthority();
afterAll(() => authority[Symbol.dispose]());
const a = authority.issue({ name: "a", altNames: ["DNS:A.test", "DNS:*.b.test", "URI:spiffe://x/y"] });
const other = authority.issue({ name: "Other.test", type: "rsa" });

const compile = (secret: JsonObject) => compileSecret(fromJson(SecretSchema, { name: "s", ...secret }));
const inline = (inlineString: string) => ({ inlineString });
const certificate = (chain: string, key: string) => ({
  tlsCertificate: { certificateChain: inline(chain), privateKey: inline(key) },
});

test.each([
  [a, "ec", ["a.test", "*.b.test"]],
  [other, "rsa", ["other.test"]],
])("a certificate is known by its DNS names, without any by its common name", ({ cert, key }, keyType, names) => {
  expect(compile(certificate(cert, key))).toMatchObject({
    ok: true,
    value: { kind: "tlsCertificate", value: { keyType, names } },
  });
});

test.each<[string, JsonObject, string, string]>([
  ["no type", {}, "", "one of tls_certificate"],
  ["another's key", certificate(a.cert, other.key), "tls_certificate.private_key", "is not the key of the certificate"],
  ["no certificate", certificate("hush", a.key), "tls_certificate.certificate_chain", "is not a PEM certificate"],
  ["no key", certificate(a.cert, "hush"), "tls_certificate.private_key", "is not a PEM private key"],
  ["nothing", certificate(a.cert, ""), "tls_certificate.private_key", "is empty"],
  [
    "a missing file",
    { genericSecret: { secret: { filename: "/nowhere" } } },
    "generic_secret.secret.filename",
    "ENOENT",
  ],
  ["a short ticket key", { sessionTicketKeys: { keys: [inline("short")] } }, "session_ticket_keys.keys[0]", "80 bytes"],
  ["no authority", { validationContext: { trustedCa: inline("hush") } }, "validation_context.trusted_ca", "no PEM"],
])("a secret is refused for %s, and the reason does not quote it", (_, secret, field, message) => {
  const compiled = compile(secret);
  expect(compiled).toMatchObject({ ok: false, problems: [{ field, message: expect.stringContaining(message) }] });
  expect(JSON.stringify(compiled)).not.toContain("hush");
});

const validation = (context: JsonObject): PeerValidation => {
  const compiled = compile({ validationContext: { trustedCa: inline(authority.cert), ...context } });
  if (!compiled.ok || compiled.value.kind !== "validationContext") throw new Error(JSON.stringify(compiled));
  return compiled.value.value;
};
const x509 = new X509Certificate(a.cert);
const san = (sanType: string, matcher: JsonObject) => ({ matchTypedSubjectAltNames: [{ sanType, matcher }] });

test.each<[JsonObject, boolean]>([
  [{}, true],
  [san("DNS", { exact: "a.test" }), true],
  [san("DNS", { exact: "www.b.test" }), true],
  [san("DNS", { exact: "b.test" }), false],
  [san("URI", { prefix: "spiffe://x/" }), true],
  [san("URI", { exact: "a.test" }), false],
  [san("EMAIL", { exact: "a.test" }), false],
  [{ verifyCertificateHash: [x509.fingerprint256] }, true],
  [{ verifyCertificateHash: ["00".repeat(32)] }, false],
  [{ verifyCertificateHash: [x509.fingerprint256], ...san("DNS", { exact: "c.test" }) }, false],
])("a peer is one of those meant: %j %s", (context, expected) => {
  expect(peerProblem(x509, validation(context)) === undefined).toBe(expected);
});

test("a name with a comma in it stays one name, and an IPv6 address has the form that it is compared in", () => {
  const subjectAltName =
    'DNS:"evil.test, DNS:a.test", DNS:b.test, IP Address:2001:DB8:0:0:0:0:0:1, IP Address:10.0.0.1';
  expect(subjectAltNames({ subjectAltName })).toEqual([
    { type: "DNS", value: "evil.test, DNS:a.test" },
    { type: "DNS", value: "b.test" },
    { type: "IP Address", value: "2001:db8::1" },
    { type: "IP Address", value: "10.0.0.1" },
  ]);
});

test.each([
  ["a.test", "A.test", true],
  ["*.a.test", "b.a.test", true],
  ["*.a.test", "c.b.a.test", false],
  ["*.a.test", ".a.test", false],
  ["*.a.test", "a.test", false],
])("%s covers %s: %s", (pattern, name, expected) => expect(dnsNameCovers(pattern, name)).toBe(expected));
