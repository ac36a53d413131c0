/** TLS to a registry. */
export interface TlsSettings {
  /** PEM; the machine's authorities if there is none. */
  readonly ca?: string | undefined;
  /** PEM chain and key of our own certificate, together. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** The name that is sent and expected; the host of the address if there is none. */
  readonly serverName?: string | undefined;
  /** Whether the certificate is checked. Default: true. */
  readonly verify?: boolean | undefined;
}

/** The same in Node's words (tls.connect). */
export const tlsOptions = ({ ca, cert, key, serverName, verify }: TlsSettings) => ({
  ...(ca !== undefined && { ca }),
  ...(cert !== undefined && { cert }),
  ...(key !== undefined && { key }),
  ...(serverName !== undefined && { servername: serverName }),
  ...(verify === false && { rejectUnauthorized: false }),
});
