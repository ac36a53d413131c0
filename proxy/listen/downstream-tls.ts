import type { TlsCertificate } from "../tls/certificate.ts";
import type { TlsParameters } from "../tls/parameters.ts";
import type { Secret, TicketKeys } from "../tls/secret.ts";
import { mergeValidation, type PeerValidation } from "../tls/validation.ts";
import type { OwnOrSecret } from "../tls/validation-source.ts";
import type { Runtime } from "./context.ts";

/** A DownstreamTlsContext made ready for use. Immutable. */
export interface DownstreamTls extends TlsParameters {
  readonly certificates: readonly OwnOrSecret<TlsCertificate>[];
  /** What client certificates must be: both together, if there are two. Empty: clients are not asked for any. */
  readonly validation: readonly OwnOrSecret<PeerValidation>[];
  readonly requireClientCertificate: boolean;
  readonly requireSni: boolean;
  /** In the order of our preference; empty: the client's wish is passed over. */
  readonly applicationProtocols: readonly string[];
  /** Undefined: the key that all workers share, which changes by and by. */
  readonly ticketKeys: OwnOrSecret<TicketKeys> | undefined;
  readonly disableTickets: boolean;
  /** In seconds; undefined: OpenSSL's. */
  readonly sessionTimeoutSeconds: number | undefined;
  readonly handshakeTimeoutMs: number;
}

/** What a DownstreamTls comes to with the secrets as they are now. */
export interface Credentials {
  /** At least one. */
  readonly certificates: readonly TlsCertificate[];
  readonly validation: PeerValidation | undefined;
  readonly ticketKeys: TicketKeys | undefined;
}

/** Looks the secrets up; undefined: one that is needed has not come yet. */
export function resolveCredentials(tls: DownstreamTls, runtime: Pick<Runtime, "secret">): Credentials | undefined {
  const find = <Kind extends Secret["kind"]>(
    kind: Kind,
    wanted: OwnOrSecret<Extract<Secret, { kind: Kind }>["value"]>,
  ) => {
    if ("own" in wanted) return wanted.own;
    const secret = runtime.secret(wanted.secret);
    return secret?.kind === kind ? (secret.value as Extract<Secret, { kind: Kind }>["value"]) : undefined;
  };
  const certificates = tls.certificates.map((one) => find("tlsCertificate", one));
  const validation = tls.validation.map((one) => find("validationContext", one));
  const ticketKeys = tls.ticketKeys && find("sessionTicketKeys", tls.ticketKeys);
  if (tls.ticketKeys !== undefined && ticketKeys === undefined) return undefined;
  if (!certificates.every((one) => one !== undefined) || !validation.every((one) => one !== undefined))
    return undefined;
  const [first, second] = validation;
  return {
    certificates,
    validation: first !== undefined && second !== undefined ? mergeValidation(first, second) : first,
    ticketKeys,
  };
}

/** Whether nothing changed between two looks. Secrets are compared as objects: another version is another one. */
export function sameCredentials(a: Credentials, b: Credentials): boolean {
  return (
    a.ticketKeys === b.ticketKeys &&
    a.validation?.fingerprint === b.validation?.fingerprint &&
    a.certificates.length === b.certificates.length &&
    a.certificates.every((one, at) => one === b.certificates[at])
  );
}

/**
 * The certificates for a client that asks for a name, one of each key type, of which OpenSSL takes what the client can use: those with the name
 * itself, else with a wildcard for it, else (and without a name) the first ones, as in Envoy.
 */
export function certificatesFor(all: readonly TlsCertificate[], serverName: string): readonly TlsCertificate[] {
  const dot = serverName.indexOf(".");
  const wildcard = dot > 0 ? `*${serverName.slice(dot)}` : undefined;
  const exact = all.filter(({ names }) => serverName !== "" && names.includes(serverName));
  const covering =
    exact.length > 0 ? exact : all.filter(({ names }) => wildcard !== undefined && names.includes(wildcard));
  const candidates = covering.length > 0 ? covering : all;
  const types = new Set<string>();
  return candidates.filter(({ keyType }) => !types.has(keyType) && types.add(keyType));
}
