import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

import type { Parsed } from "./problem.ts";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs;
const CRL = /-----BEGIN X509 CRL-----.*?-----END X509 CRL-----/gs;

/** The certificates of a PEM text, in its order (RFC 7468). There must be one at least, and nothing else. */
export function readCertificates(pem: string): Parsed<readonly X509Certificate[]> {
  const blocks = pem.match(CERTIFICATE) ?? [];
  if (blocks.length === 0 || pem.replaceAll(CERTIFICATE, "").includes("-----BEGIN")) {
    return wrong("must be certificates in PEM: -----BEGIN CERTIFICATE----- and so on, nothing else");
  }
  const certificates: X509Certificate[] = [];
  for (const [at, block] of blocks.entries()) {
    try {
      certificates.push(new X509Certificate(block));
    } catch {
      return wrong(`certificate ${at + 1} of ${blocks.length} can't be read`);
    }
  }
  return { ok: true, value: certificates };
}

/** A private key in PEM. No message holds anything of it. */
export function readPrivateKey(pem: string): Parsed<KeyObject> {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(pem)) {
    return wrong("is encrypted; write it without a passphrase (openssl pkey -in key.pem)");
  }
  try {
    return { ok: true, value: createPrivateKey(pem) };
  } catch {
    return wrong("must be a private key in PEM: -----BEGIN PRIVATE KEY----- and so on");
  }
}

/** What is wrong with a text of revocation lists; undefined for nothing. Data planes read what is inside. */
export function revocationListsProblem(pem: string): string | undefined {
  const rest = pem.replaceAll(CRL, "");
  if ((pem.match(CRL) ?? []).length > 0 && !rest.includes("-----BEGIN")) return undefined;
  return "must be revocation lists in PEM: -----BEGIN X509 CRL----- and so on, nothing else";
}

/** The DNS names of a certificate (subjectAltName, RFC 5280, 4.2.1.6), in lower case, each once. */
export function dnsNames({ subjectAltName }: X509Certificate): string[] {
  // Node quotes entries that hold a comma or quotation mark; such are no DNS names.
  const names = (subjectAltName ?? "")
    .split(", ")
    .flatMap((entry) => /^DNS:([A-Za-z0-9*._-]+)$/.exec(entry)?.[1] ?? []);
  return [...new Set(names.map((name) => name.toLowerCase()))];
}

const wrong = (message: string): Parsed<never> => ({
  ok: false,
  problems: [{ field: "", reason: "invalid_pem", message }],
});
