import type { X509Certificate } from "node:crypto";

/** A name in a certificate's subjectAltName extension: its type in OpenSSL's words (DNS, URI, IP Address, email), and the name. */
export interface SubjectAltName {
  readonly type: string;
  readonly value: string;
}

/**
 * The names of a certificate's subjectAltName extension. Node gives them as one text, in which a name with a comma, a quote or an
 * unprintable character stands as a JSON string; taken apart naively, one such name could pose as several.
 */
export function subjectAltNames(certificate: Pick<X509Certificate, "subjectAltName">): readonly SubjectAltName[] {
  const text = certificate.subjectAltName ?? "";
  const names: SubjectAltName[] = [];
  const name = /([^:,]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/gy;
  for (let match = name.exec(text); match !== null; match = name.exec(text)) {
    const [, type = "", value = ""] = match;
    names.push({ type, value: value.startsWith('"') ? (JSON.parse(value) as string) : value });
    if (name.lastIndex === text.length) break;
  }
  return names;
}

/**
 * Whether a DNS name of a certificate, which may begin with "*.", covers a name: the star stands for exactly one label (RFC 9525, 6.3).
 * Case makes no difference.
 */
export function dnsNameCovers(pattern: string, name: string): boolean {
  const lower = pattern.toLowerCase();
  const wanted = name.toLowerCase();
  if (!lower.startsWith("*.")) return lower === wanted;
  const dot = wanted.indexOf(".");
  return dot > 0 && wanted.slice(dot) === lower.slice(1);
}
