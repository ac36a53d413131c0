import type { X509Certificate } from "node:crypto";
import { isIPv6, SocketAddress } from "node:net";

/** A name in a certificate's subjectAltName extension: its type in OpenSSL's words (DNS, URI, IP Address, email), and the name. */
export interface SubjectAltName {
  readonly type: string;
  readonly value: string;
}

/**
 * The names of a certificate's subjectAltName extension. Node gives them as one text, in which a name with a comma, a quote or an
 * unprintable character stands as a JSON string; taken apart naively, one such name could pose as several. IPv6 addresses, which Node writes out in
 * full and in capitals, have the form of RFC 5952, which is what Envoy compares.
 */
export function subjectAltNames(certificate: Pick<X509Certificate, "subjectAltName">): readonly SubjectAltName[] {
  const text = certificate.subjectAltName ?? "";
  const names: SubjectAltName[] = [];
  const name = /([^:,]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/gy;
  for (let match = name.exec(text); match !== null; match = name.exec(text)) {
    const [, type = "", value = ""] = match;
    const own = value.startsWith('"') ? (JSON.parse(value) as string) : value;
    const isV6 = type === "IP Address" && isIPv6(own);
    names.push({ type, value: isV6 ? new SocketAddress({ address: own, family: "ipv6" }).address : own });
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
