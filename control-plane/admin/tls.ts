import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, unwatchFile, watchFile } from "node:fs";

import type { TlsKeys } from "./listen.ts";
import { StartError } from "./start-error.ts";

/** Where a certificate chain and its key are, PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** Authorities of clients' certificates, where clients have to show some. */
  readonly clientCa?: string | undefined;
}

/**
 * How often the files are looked at. Looking at what their paths lead to also sees a link that is turned to other files, which is how
 * Kubernetes and certbot replace certificates, and which no watch of a file reports.
 */
const LOOK_INTERVAL_MS = 1_000;

/** Reads the files, and checks that they belong together. @throws StartError */
export function readTls(files: TlsFiles): TlsKeys & { readonly clientCa?: string } {
  const cert = read(files.cert);
  const key = read(files.key);
  const certificate = parse(files.cert, "certificate", () => new X509Certificate(cert));
  const privateKey = parse(files.key, "private key", () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new StartError(`the private key in ${files.key} doesn't belong to the certificate in ${files.cert}`);
  }
  if (files.clientCa === undefined) return { cert, key };
  const clientCa = read(files.clientCa);
  parse(files.clientCa, "certificate", () => new X509Certificate(clientCa));
  return { cert, key, clientCa };
}

/** Calls `onChange` when one of the files has changed. Returns how to stop. */
export function watchTls(files: TlsFiles, onChange: () => void): () => void {
  const paths = [files.cert, files.key, ...(files.clientCa === undefined ? [] : [files.clientCa])];
  for (const path of paths) watchFile(path, { interval: LOOK_INTERVAL_MS, persistent: false }, onChange);
  return () => {
    for (const path of paths) unwatchFile(path, onChange);
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new StartError(`${path} can't be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`);
  }
}

function parse<Value>(path: string, what: string, make: () => Value): Value {
  try {
    return make();
  } catch {
    throw new StartError(`${path} holds no ${what} in PEM`);
  }
}
