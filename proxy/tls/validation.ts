import { createHash, X509Certificate } from "node:crypto";

import { toBinary } from "@bufbuild/protobuf";

import {
  type CertificateValidationContext,
  CertificateValidationContext_TrustChainVerification as TrustChain,
  CertificateValidationContextSchema,
  type SubjectAltNameMatcher,
  SubjectAltNameMatcher_SanType as SanType,
} from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";

import type { Place } from "../compile.ts";
import { compileStringMatcher } from "../route/matchers.ts";
import { readDataSource } from "./data-source.ts";
import { dnsNameCovers, type SubjectAltName, subjectAltNames } from "./subject-alt-name.ts";

/** What a peer's certificate must be, from a CertificateValidationContext. Immutable; a new version is a new object. */
export interface PeerValidation {
  /** PEM authorities to trust; "system": those of the program; undefined: no chain is verified, as in Envoy. */
  readonly ca: Buffer | "system" | undefined;
  /** PEM. */
  readonly crl: Buffer | undefined;
  /** ACCEPT_UNTRUSTED: a certificate that fails is let through, and whoever looks at it sees that. */
  readonly acceptUntrusted: boolean;
  /** One of them must fit a name of the certificate; none: any name will do. */
  readonly names: readonly ((name: SubjectAltName) => boolean)[];
  /** SHA-256 of the certificate, hex. With `spkis`: one of both lists must have it, unless both are empty. */
  readonly hashes: ReadonlySet<string>;
  /** SHA-256 of the public key (SPKI), base64. */
  readonly spkis: ReadonlySet<string>;
  /** Differs whenever anything above does: a session made under other rules must not be resumed. */
  readonly fingerprint: string;
}

/** Compiles a CertificateValidationContext; problems are reported. */
export function compileValidation(message: CertificateValidationContext, place: Place): PeerValidation {
  const read = (name: string, source: CertificateValidationContext["crl"]) =>
    source === undefined ? undefined : readDataSource(source, place.field(name));
  const authorities = read("trusted_ca", message.trustedCa);
  if (authorities !== undefined) checkAuthorities(authorities, place.field("trusted_ca"));
  const crl = read("crl", message.crl);
  if (crl !== undefined && !crl.includes("-----BEGIN X509 CRL-----")) place.field("crl").refuse("has no PEM list");
  const ca = authorities ?? (message.systemRootCerts === undefined ? undefined : "system");
  if (crl !== undefined && ca === undefined) place.field("crl").refuse("needs trusted_ca");
  const { trustChainVerification: trust } = message;
  if (trust !== TrustChain.VERIFY_TRUST_CHAIN && trust !== TrustChain.ACCEPT_UNTRUSTED) {
    place.field("trust_chain_verification").refuse(`unknown value ${trust}`);
  }
  const hash = createHash("sha256").update(toBinary(CertificateValidationContextSchema, message));
  return {
    ca,
    crl,
    acceptUntrusted: trust === TrustChain.ACCEPT_UNTRUSTED,
    names: compileNames(message.matchTypedSubjectAltNames, place),
    hashes: new Set(message.verifyCertificateHash.map((text) => text.replaceAll(":", "").toLowerCase())),
    spkis: new Set(message.verifyCertificateSpki),
    // What files held when they were read, too.
    fingerprint: hash
      .update(authorities ?? "")
      .update(crl ?? "")
      .digest("hex"),
  };
}

/** Both together, as protobuf merges the dynamic one into the default (CombinedCertificateValidationContext). */
export function mergeValidation(otherwise: PeerValidation, dynamic: PeerValidation): PeerValidation {
  return {
    ca: dynamic.ca ?? otherwise.ca,
    crl: dynamic.crl ?? otherwise.crl,
    acceptUntrusted: dynamic.acceptUntrusted || otherwise.acceptUntrusted,
    names: [...otherwise.names, ...dynamic.names],
    hashes: otherwise.hashes.union(dynamic.hashes),
    spkis: otherwise.spkis.union(dynamic.spkis),
    fingerprint: createHash("sha256").update(otherwise.fingerprint).update(dynamic.fingerprint).digest("hex"),
  };
}

/** Why a certificate is not one of those meant. */
export interface PeerProblem {
  readonly reason: string;
  /** What doesn't fit, as in Envoy's counters ssl.fail_verify_san and ssl.fail_verify_cert_hash. */
  readonly part: "san" | "cert_hash";
}

/** Why a peer's certificate, whose chain was verified before, is not one of those meant; undefined: it is. */
export function peerProblem(certificate: X509Certificate, validation: PeerValidation): PeerProblem | undefined {
  const { names, hashes, spkis } = validation;
  if (hashes.size + spkis.size > 0 && !hashes.has(sha256(certificate.raw).toString("hex"))) {
    const spki = certificate.publicKey.export({ type: "spki", format: "der" });
    if (!spkis.has(sha256(spki).toString("base64"))) {
      return { reason: "its hash is none of those allowed", part: "cert_hash" };
    }
  }
  if (names.length === 0) return undefined;
  const own = subjectAltNames(certificate);
  if (own.some((name) => names.some((fits) => fits(name)))) return undefined;
  return { reason: "none of its names is one of those allowed", part: "san" };
}

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest();

function checkAuthorities(pem: Buffer, place: Place): void {
  const blocks = pem.toString("latin1").match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) place.refuse("has no PEM certificate");
  for (const block of blocks) {
    try {
      new X509Certificate(block);
    } catch {
      return place.refuse("is not a list of PEM certificates");
    }
  }
}

/** The name's type in OpenSSL's words. */
const openSslTypes: Partial<Readonly<Record<SanType, string>>> = {
  [SanType.EMAIL]: "email",
  [SanType.DNS]: "DNS",
  [SanType.URI]: "URI",
  [SanType.IP_ADDRESS]: "IP Address",
};

function compileNames(matchers: readonly SubjectAltNameMatcher[], place: Place): PeerValidation["names"] {
  return matchers.flatMap(({ sanType, matcher }, index) => {
    const at = place.item("match_typed_subject_alt_names", index);
    const type = openSslTypes[sanType];
    if (type === undefined) {
      at.field("san_type").refuse("only EMAIL, DNS, URI and IP_ADDRESS are supported");
      return [];
    }
    const test = compileStringMatcher(matcher, at.field("matcher"));
    if (test === undefined) return [];
    const exact = matcher?.matchPattern.case === "exact" ? matcher.matchPattern.value : undefined;
    // As in Envoy, an exact DNS name is also found under a certificate's wildcard.
    if (type === "DNS" && exact !== undefined) {
      return [(name: SubjectAltName) => name.type === type && dnsNameCovers(name.value, exact)];
    }
    return [(name: SubjectAltName) => name.type === type && test(name.value)];
  });
}
