import { X509Certificate } from "node:crypto";

import type { Gateway } from "#sluice/model/v1/gateway_pb.ts";

import { printable, type Terminal } from "../terminal.ts";

const DAY_MS = 86_400_000;

/** The certificates of a PEM text; none of one that this program can't read, as a newer server's may be. */
export function readChain(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs) ?? [];
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    return [];
  }
}

/** The DNS names that a certificate is for. */
export const dnsNamesOf = ({ subjectAltName }: X509Certificate): string[] =>
  (subjectAltName ?? "").split(", ").flatMap((entry) => /^DNS:([\w.*-]+)$/.exec(entry)?.[1] ?? []);

/** "2027-03-01, 100 days", "2026-01-01, EXPIRED". */
export function describeExpiry({ validToDate, validFromDate }: X509Certificate, now: Date): string {
  const days = Math.floor((validToDate.getTime() - now.getTime()) / DAY_MS);
  const left = days < 0 ? "EXPIRED" : validFromDate > now ? "NOT YET VALID" : `${days} days`;
  return `${validToDate.toISOString().slice(0, 10)}, ${left}`;
}

/**
 * Says which certificates of a gateway have expired, or are not valid yet. They are applied all the same: a file that was good yesterday must
 * not be refused as a whole because one of its certificates ran out.
 */
export function warnOfExpiry({ certificates, caCertificates }: Gateway, terminal: Terminal, now = new Date()): void {
  const all = [
    ...certificates.map(({ name, certificateChain }) => [`certificate ${name}`, certificateChain] as const),
    ...caCertificates.map((ca) => [`CA certificate ${ca.name}`, ca.certificates] as const),
  ];
  for (const [name, pem] of all) {
    for (const { validToDate, validFromDate } of readChain(pem)) {
      const day = (date: Date) => date.toISOString().slice(0, 10);
      const said =
        validToDate < now
          ? `expired on ${day(validToDate)}`
          : validFromDate > now
            ? `is not valid before ${day(validFromDate)}`
            : undefined;
      if (said !== undefined) terminal.err(`${terminal.styleError("yellow", "!")} ${printable(name)}: ${said}`);
    }
  }
}
