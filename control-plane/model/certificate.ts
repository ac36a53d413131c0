import type { X509Certificate } from "node:crypto";

import type { CaCertificate, Certificate } from "#sluice/model/v1/certificate_pb.ts";

import { hostProblem, normalHost } from "./hosts.ts";
import { GATEWAY_GROUP_DEFAULT } from "./objects.ts";
import { dnsNames, readCertificates, readPrivateKey, revocationListsProblem } from "./pem.ts";
import { quoted, type Report } from "./problem.ts";
import { REDACTED } from "./secrets.ts";
import type { State } from "./validate.ts";

/** The server name that stands for every one, and for none. */
export const ANY_SNI = "*";

/** What translation and other checks need of a certificate. */
export interface CertificateFacts {
  /** In lower case; ANY_SNI for all that no other certificate answers to. */
  readonly snis: readonly string[];
  /** A listener can show one of each type for a server name. */
  readonly keyType: "rsa" | "ec";
}

const facts = new WeakMap<Certificate, CertificateFacts | null>();

/** Reads what a certificate is for; undefined if it can't be read, or its key is neither RSA nor EC. */
export function certificateFacts(certificate: Certificate): CertificateFacts | undefined {
  let known = facts.get(certificate);
  if (known === undefined) {
    known = readFacts(certificate) ?? null;
    facts.set(certificate, known);
  }
  return known ?? undefined;
}

const expiries = new WeakMap<Certificate, Date | null>();

/** When a certificate, or an earlier one of its chain, expires; undefined if it can't be read. */
export function expiryOf(certificate: Certificate): Date | undefined {
  let known = expiries.get(certificate);
  if (known === undefined) {
    const chain = readCertificates(certificate.certificateChain);
    const dates = chain.ok ? chain.value.map(({ validToDate }) => validToDate.getTime()) : [];
    known = dates.length === 0 ? null : new Date(Math.min(...dates));
    expiries.set(certificate, known);
  }
  return known ?? undefined;
}

function readFacts({ certificateChain, snis }: Certificate): CertificateFacts | undefined {
  const chain = readCertificates(certificateChain);
  const leaf = chain.ok ? chain.value[0] : undefined;
  const keyType = leaf && keyTypeOf(leaf);
  if (leaf === undefined || keyType === undefined) return undefined;
  const names = snis.length > 0 ? [...new Set(snis.map(normalHost))] : dnsNames(leaf);
  // One that only names addresses is for clients that name no server.
  return { snis: names.length > 0 ? names : [ANY_SNI], keyType };
}

/** Reports what is wrong with a certificate beyond the rules of its .proto. An expired one is no problem here: it is stored and shown. */
export function checkCertificate(certificate: Certificate, after: State, report: Report): void {
  for (const [at, sni] of certificate.snis.entries()) {
    // "example.*" is a host of services, but no server name that data planes can match.
    const wrong =
      sni === ANY_SNI || sni === "" ? undefined : sni.endsWith("*") ? endsInWildcard(sni) : hostProblem(sni);
    if (wrong !== undefined) report(`snis[${at}]`, "invalid_host", wrong);
  }
  if (certificate.certificateChain === "") return;
  const chain = readCertificates(certificate.certificateChain);
  if (!chain.ok) {
    for (const { reason, message } of chain.problems) report("certificateChain", reason, message);
    return;
  }
  checkChain(chain.value, report);
  const [leaf] = chain.value;
  if (leaf === undefined) return;
  if (keyTypeOf(leaf) === undefined) {
    report("certificateChain", "unsupported_key", "its key is neither RSA nor EC, which is what data planes support");
    return;
  }
  checkKey(certificate, leaf, report);
  checkUnclaimed(certificate, after, report);
}

const endsInWildcard = (sni: string) =>
  `${quoted(sni)} is no server name; there are exact ones, "*.example.com" and "*"`;

function keyTypeOf(leaf: X509Certificate): CertificateFacts["keyType"] | undefined {
  const type = leaf.publicKey.asymmetricKeyType;
  return type === "rsa" || type === "ec" ? type : undefined;
}

/** Each certificate must be signed by the next one (RFC 8446, 4.4.2). */
function checkChain(chain: readonly X509Certificate[], report: Report): void {
  for (const [at, certificate] of chain.entries()) {
    const issuer = chain[at + 1];
    if (issuer === undefined || (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))) continue;
    const said = `certificate ${at + 1} is not signed by certificate ${at + 2}`;
    report(
      "certificateChain",
      "chain_order",
      `${said}; put the server's own first, and after each the one that signed it`,
    );
    return;
  }
}

function checkKey({ privateKey }: Certificate, leaf: X509Certificate, report: Report): void {
  const source = privateKey?.source;
  // A key on the data planes' machines is checked there, and one that is redacted was checked when it was stored.
  if (source?.case !== "value" || source.value === REDACTED) return;
  const key = readPrivateKey(source.value);
  if (!key.ok) {
    for (const { reason, message } of key.problems) report("privateKey.value", reason, message);
  } else if (!leaf.checkPrivateKey(key.value)) {
    report("privateKey.value", "key_mismatch", "is not the key of this certificate; they must be a pair");
  }
}

/** A server name has one certificate of each key type, or which one a client gets would be decided by their names. */
function checkUnclaimed(certificate: Certificate, after: State, report: Report): void {
  const own = certificateFacts(certificate);
  if (own === undefined) return;
  const claims = claimsOf(certificate.gatewayGroup || GATEWAY_GROUP_DEFAULT, after);
  for (const sni of own.snis) {
    const other = claims.get(claimOf(own, sni))?.find((name) => name !== certificate.name);
    if (other === undefined) continue;
    const said = `certificate ${quoted(other)} answers to ${quoted(sni)} too, with a key of the same type`;
    report("snis", "duplicate_sni", `${said}; name the server names of each in its snis, or delete one`);
    return;
  }
}

type Claims = ReadonlyMap<string, readonly string[]>;

const claimsByState = new WeakMap<State, Map<string, Claims>>();

const claimOf = ({ keyType }: CertificateFacts, sni: string) => `${keyType} ${sni}`;

/** The certificates of a group by what they answer to; made once for a write, however many certificates it has. */
function claimsOf(group: string, after: State): Claims {
  const byGroup = claimsByState.get(after) ?? new Map<string, Claims>();
  claimsByState.set(after, byGroup);
  let claims = byGroup.get(group);
  if (claims === undefined) {
    const found = new Map<string, string[]>();
    for (const certificate of after.members("certificate", group)) {
      const known = certificateFacts(certificate);
      for (const sni of known?.snis ?? []) {
        const claim = claimOf(known as CertificateFacts, sni);
        found.set(claim, [...(found.get(claim) ?? []), certificate.name]);
      }
    }
    claims = found;
    byGroup.set(group, claims);
  }
  return claims;
}

/** Reports what is wrong with authorities beyond the rules of their .proto. */
export function checkCaCertificate({ certificates, revocationLists }: CaCertificate, report: Report): void {
  if (certificates !== "") {
    const read = readCertificates(certificates);
    if (!read.ok) for (const { reason, message } of read.problems) report("certificates", reason, message);
  }
  const wrong = revocationLists === "" ? undefined : revocationListsProblem(revocationLists);
  if (wrong !== undefined) report("revocationLists", "invalid_pem", wrong);
}
