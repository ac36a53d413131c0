import { createHash, timingSafeEqual, X509Certificate } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";

import { status } from "@grpc/grpc-js";

import type { Refusal } from "./admission.ts";

/** What a data plane shows to be let into a gateway group. */
export interface Credentials {
  /** Of `authorization: Bearer TOKEN` in the stream's metadata (RFC 6750, 2.1). */
  readonly token: string | undefined;
  /** Gateway groups that its verified certificate is for. */
  readonly certificateGroups: readonly string[];
}

/** The credentials of a request of HTTP/1.1. */
export const credentialsOfRequest = ({ headers, socket }: Pick<IncomingMessage, "headers" | "socket">): Credentials =>
  credentialsFrom(headers.authorization, certificateOf(socket));

/** The certificate that a client has shown and TLS has verified; DER. */
export const certificateOf = (socket: unknown): Buffer | undefined =>
  socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate()?.raw : undefined;

/**
 * Credentials from what a stream came with.
 *
 * @param authorization the Authorization header
 * @param certificate the client's, which TLS has verified; DER
 */
export const credentialsFrom = (authorization: string | undefined, certificate: Buffer | undefined): Credentials => ({
  token: tokenOf(authorization),
  certificateGroups: certificate === undefined ? [] : groupsOfCertificate(new X509Certificate(certificate)),
});

/** The token of an Authorization header. */
const tokenOf = (authorization: string | undefined): string | undefined =>
  /^bearer +(\S+)$/i.exec(authorization ?? "")?.[1];

/** A certificate is for the groups that its URI names say (SPIFFE ID, section 2): spiffe://TRUST-DOMAIN/gateway-group/NAME. */
export const groupsOfCertificate = ({ subjectAltName }: Pick<X509Certificate, "subjectAltName">): string[] =>
  // Node quotes a name that holds anything unusual, so that no name can look like several; such a one is no name of ours.
  (subjectAltName ?? "").split(", ").flatMap((entry) => {
    const [, group] = /^URI:spiffe:\/\/[^/"]+\/gateway-group\/([\w.-]+)$/.exec(entry) ?? [];
    return group ?? [];
  });

/** SHA-256 of each join token of a gateway group. */
export type JoinTokens = ReadonlyMap<string, readonly Buffer[]>;

/**
 * Which data planes may join which gateway group. A group with join tokens takes only those that have one, or a certificate for the group;
 * a group without takes everybody on a port that only this machine reaches, and nobody but certificates elsewhere.
 */
export class JoinGuard {
  readonly #required: boolean;
  readonly #listeners = new Set<() => void>();
  #tokens: JoinTokens = new Map();
  /** Of all groups, in hexadecimal digits. */
  #digests: ReadonlySet<string> = new Set();

  /** @param required whether nobody joins without credentials, whatever the group */
  constructor(required: boolean) {
    this.#required = required;
  }

  /** Takes the tokens of all groups as they are now; streams whose token is gone are ended. */
  setTokens(tokens: JoinTokens): void {
    this.#tokens = tokens;
    this.#digests = new Set([...tokens.values()].flatMap((ofGroup) => ofGroup.map((digest) => digest.toString("hex"))));
    for (const listener of this.#listeners) listener();
  }

  /** Calls back when credentials may count otherwise than before. Returns what ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Why a data plane may not join a group; undefined if it may. It says nothing of what groups there are. */
  refusal(gatewayGroup: string, { token, certificateGroups }: Credentials): Refusal | undefined {
    if (certificateGroups.includes(gatewayGroup)) return undefined;
    const accepted = this.#tokens.get(gatewayGroup) ?? [];
    if (!this.#required && accepted.length === 0) return undefined;
    const group = JSON.stringify(gatewayGroup);
    if (token === undefined && certificateGroups.length === 0) {
      const details = `joining the gateway group ${group} takes a join token: sluice token create -g GROUP NAME`;
      return { code: status.UNAUTHENTICATED, details };
    }
    if (token !== undefined && isOneOf(token, accepted)) return undefined;
    const what = token === undefined ? "certificate" : "join token";
    return { code: status.PERMISSION_DENIED, details: `the ${what} is not for the gateway group ${group}` };
  }

  /** Why somebody is told nothing, whatever the gateway group: on a port that takes credentials, those who may join no group at all. */
  strangerRefusal({ token, certificateGroups }: Credentials): Refusal | undefined {
    if (!this.#required || certificateGroups.length > 0) return undefined;
    if (token === undefined) {
      const details =
        "this takes a join token (sluice token create -g GROUP NAME), or a certificate of a gateway group";
      return { code: status.UNAUTHENTICATED, details };
    }
    // Every call asks this, and groups may be many. The time that it takes is one of digests, which tell nothing of a token.
    if (this.#digests.has(digestOf(token).toString("hex"))) return undefined;
    return { code: status.PERMISSION_DENIED, details: "the join token is not for any gateway group" };
  }
}

/** Whether a token's digest is among these. All of them are compared, so that the time tells nothing. */
function isOneOf(token: string, accepted: readonly Buffer[]): boolean {
  const digest = digestOf(token);
  let matches = 0;
  for (const each of accepted) matches += timingSafeEqual(each, digest) ? 1 : 0;
  return matches > 0;
}

const digestOf = (token: string): Buffer => createHash("sha256").update(token).digest();
