import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { stat } from "node:fs/promises";

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

/**
 * Calls `onChange` when one of the files has changed since they were read, be it before this call: a start takes a while. Returns how to stop.
 * @param used what was read then
 */
export function watchTls(files: TlsFiles, used: ReturnType<typeof readTls>, onChange: () => void): () => void {
  let seen: string | undefined;
  let isLooking = false;
  const look = async () => {
    const now = await versionOf(files);
    if (now === seen) return;
    const isFirst = seen === undefined;
    seen = now;
    if (!isFirst || !holds(files, used)) onChange();
  };
  const timer = setInterval(() => {
    // One look at a time: a file system may hang.
    if (isLooking) return;
    isLooking = true;
    void look().finally(() => (isLooking = false));
  }, LOOK_INTERVAL_MS).unref();
  return () => clearInterval(timer);
}

/** What tells one state of the files from another; a file that isn't there has none. */
async function versionOf({ cert, key, clientCa }: TlsFiles): Promise<string> {
  const paths = [cert, key, ...(clientCa === undefined ? [] : [clientCa])];
  const versions = paths.map(async (path) => {
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    return found && [found.ino, found.size, found.mtimeNs, found.ctimeNs].join("-");
  });
  return (await Promise.all(versions)).join();
}

/** Whether the files hold this, and it can be used. */
function holds(files: TlsFiles, { cert, key, clientCa }: ReturnType<typeof readTls>): boolean {
  try {
    const now = readTls(files);
    return now.cert === cert && now.key === key && now.clientCa === clientCa;
  } catch {
    return false;
  }
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
