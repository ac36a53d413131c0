import { readFileSync } from "node:fs";

import { type ChannelCredentials, credentials, Metadata } from "@grpc/grpc-js";

/** How a proxy and its control plane know each other. */
export interface XdsSecurity {
  /** TLS, verified; plain text without. */
  readonly tls?: XdsTlsFiles | undefined;
  /** A join token of the gateway group. */
  readonly token?: string | undefined;
  /** The file that has one; it goes before `token`. */
  readonly tokenFile?: string | undefined;
}

/** PEM files. */
export interface XdsTlsFiles {
  /** Authorities of the control plane's certificate. Default: the system's. */
  readonly caFile?: string | undefined;
  /** The proxy's own certificate, with `keyFile`. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

/**
 * What a stream begins with. The files are read for each stream, so that what was renewed counts from the next one on.
 * @throws Error if a file can't be read or holds something else
 */
export function joinCredentials({ tls, token, tokenFile }: XdsSecurity): {
  readonly channel: ChannelCredentials;
  readonly metadata: Metadata;
} {
  const metadata = new Metadata();
  const shown = tokenFile === undefined ? token : readFileSync(tokenFile, "utf8").trim();
  if (shown !== undefined) metadata.set("authorization", `Bearer ${shown}`);
  if (tls === undefined) return { channel: credentials.createInsecure(), metadata };
  const [ca, key, cert] = [tls.caFile, tls.keyFile, tls.certFile].map((file) =>
    file === undefined ? null : readFileSync(file),
  );
  return { channel: credentials.createSsl(ca, key, cert), metadata };
}
