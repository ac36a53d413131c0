import { readFile } from "node:fs/promises";

import { DiscoveryError } from "../source.ts";

import type { Credential, Credentials } from "./access.ts";

/** Tokens are around 1 kB; what is longer than this is another file. */
const TOKEN_BYTES_MAX = 64 << 10;

/** Always the same credential. */
export const fixedCredential = (credential: Credential): Credentials => ({
  get: async () => credential,
  refused: () => {},
});

/** A credential that lies in files, read for each request: see `tokenFile`. */
export const readCredential = (read: () => Credential): Credentials => ({ get: async () => read(), refused: () => {} });

/**
 * A token that lies in a file and is replaced there, as Kubernetes does with service account tokens. Requests are so rare (a watch lasts
 * minutes) that reading the file for each costs nothing, and no change is ever missed.
 */
export const tokenFile = (path: string, beside: Credential = {}): Credentials => ({
  get: async () => ({ ...beside, authorization: `Bearer ${await readToken(path)}` }),
  refused: () => {},
});

async function readToken(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new DiscoveryError("unauthenticated", `token file ${path}: ${error.code ?? error.message}`);
  });
  const token = text.trim();
  if (token === "") throw new DiscoveryError("unauthenticated", `token file ${path} is empty`);
  // A line break would end the header; Node refuses it as well, but would show the token.
  if (token.length > TOKEN_BYTES_MAX || !/^[\x21-\x7e]+$/.test(token)) {
    throw new DiscoveryError("unauthenticated", `token file ${path} holds something else than a token`);
  }
  return token;
}
