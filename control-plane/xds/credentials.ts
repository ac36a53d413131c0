import { ServerCredentials } from "@grpc/grpc-js";

/** A server's certificate, and whom it lets in. */
export interface XdsTls {
  /** PEM, the server's own certificate first. */
  readonly certificateChain: string;
  /** PEM. */
  readonly privateKey: string;
  /** PEM; clients then need a certificate of one of these authorities. */
  readonly clientAuthorities?: string | undefined;
}

const contextOf = ({ certificateChain, privateKey, clientAuthorities }: XdsTls) => ({
  cert: certificateChain,
  key: privateKey,
  minVersion: "TLSv1.2" as const,
  ...(clientAuthorities !== undefined && { ca: clientAuthorities }),
});

/** TLS whose certificates can be replaced: connections made from then on see the new ones. */
export class ReplaceableTls extends ServerCredentials {
  constructor(tls: XdsTls) {
    const asksForCertificates = tls.clientAuthorities !== undefined;
    super({ requestCert: asksForCertificates, rejectUnauthorized: asksForCertificates }, contextOf(tls));
  }

  /** @param tls asks for certificates of clients if, and only if, the first one did */
  replace(tls: XdsTls): void {
    this.updateSecureContextOptions(contextOf(tls));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
