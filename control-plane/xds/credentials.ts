import type { TlsOptions } from "node:tls";

/** A server's certificate, and whom it lets in. */
export interface XdsTls {
  /** PEM, the server's own certificate first. */
  readonly certificateChain: string;
  /** PEM. */
  readonly privateKey: string;
  /** PEM; clients then need a certificate of one of these authorities. */
  readonly clientAuthorities?: string | undefined;
}

/** What connections to come are secured with. Whether certificates of clients are asked for is decided once, when the server starts. */
export const secureContextOf = ({ certificateChain, privateKey, clientAuthorities }: XdsTls) => ({
  cert: certificateChain,
  key: privateKey,
  minVersion: "TLSv1.2" as const,
  ...(clientAuthorities !== undefined && { ca: clientAuthorities }),
});

/** How a server starts. */
export function serverOptionsOf(tls: XdsTls): TlsOptions {
  const asksForCertificates = tls.clientAuthorities !== undefined;
  return { ...secureContextOf(tls), requestCert: asksForCertificates, rejectUnauthorized: asksForCertificates };
}
