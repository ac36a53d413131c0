/** Hosts: what services answer to ("*.example.com"), and what nodes are reached by (DNS names and IP addresses). */
import { isIP, isIPv6, SocketAddress } from "node:net";

import { quoted } from "./problem.ts";

/** RFC 1123, section 2.1, and underscores, which real names have. */
const LABEL = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

/** Whether text is a DNS name: labels of at most 63 characters, 253 in all, one dot at the end allowed. */
export function isDnsName(text: string): boolean {
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  // A name of digits and dots alone is an IPv4 address gone wrong, such as 10.0.0.256.
  return name.length <= 253 && name.split(".").every((label) => LABEL.test(label)) && !/^[0-9.]+$/.test(name);
}

/** Whether text is an IPv4 or IPv6 address, without brackets or zone. */
export const isIpAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes("%");

/** One spelling for each address: an IPv6 one as inet_ntop writes it (RFC 5952). Other text stays what it is. */
export const canonicalAddress = (text: string): string =>
  isIPv6(text) ? new SocketAddress({ address: text, family: "ipv6" }).address : text;

/** The form in which hosts are compared and sent to data planes: DNS names know no case (RFC 4343). */
export const normalHost = (host: string): string => host.toLowerCase();

/**
 * What is wrong with a host of a service, or undefined. Right are a DNS name, an IP address (IPv6 in brackets, as in
 * the Host header), "*.example.com", "example.*" and "*" (Envoy's VirtualHost.domains without its wildcards inside a
 * label).
 */
export function hostProblem(host: string): string | undefined {
  if (host === "*" || isDnsName(host) || isIpAddress(host) || isBracketedIpv6(host)) {
    if (isIpAddress(host) && host.includes(":"))
      return `${quoted(host)}: write an IPv6 address in brackets, as clients send it`;
    if (host.endsWith(".")) return `${quoted(host)} ends with a dot; write it without`;
    return undefined;
  }
  if (/:\d*$/.test(host)) return `${quoted(host)} names a port; hosts match on any port, so leave it out`;
  if (host.startsWith("*.") && isDnsName(host.slice(2)) && !host.endsWith(".")) return undefined;
  if (host.endsWith(".*") && isDnsName(host.slice(0, -2))) return undefined;
  if (host.includes("*"))
    return `${quoted(host)}: "*" stands alone, or for whole labels as in "*.example.com" or "example.*"`;
  return `${quoted(host)} is neither a DNS name nor an IP address`;
}

/** What is wrong with a name or address to connect to, or undefined. */
export function nodeHostProblem(host: string): string | undefined {
  if (isDnsName(host) || isIpAddress(host)) return undefined;
  if (isBracketedIpv6(host)) return `${quoted(host)}: write an IPv6 address without brackets`;
  if (/:\d+$/.test(host)) return `${quoted(host)} names a port; write it into "port"`;
  if (host.includes("://")) return `${quoted(host)} is a URL; write its host alone`;
  return `${quoted(host)} is neither a DNS name nor an IP address`;
}

/**
 * What is wrong with a Host to send upstream, or undefined: a DNS name or an IP address, with or without a port (RFC
 * 9110, 7.2).
 */
export function upstreamHostProblem(host: string): string | undefined {
  const [, name = host, port] = /^(.*?)(?::(\d{1,5}))?$/.exec(host) ?? [];
  if (isIpAddress(host) && host.includes(":")) return `${quoted(host)}: write an IPv6 address in brackets`;
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535))
    return `${quoted(host)}: the port must be 1 to 65535`;
  if (isDnsName(name) || isIpAddress(name) || isBracketedIpv6(name)) return undefined;
  return `${quoted(host)} is neither a DNS name nor an IP address, with or without ":port"`;
}

const isBracketedIpv6 = (text: string) => text.startsWith("[") && text.endsWith("]") && isIP(text.slice(1, -1)) === 6;
