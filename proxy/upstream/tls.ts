import { isIP } from "node:net";
import { createSecureContext, type SecureContext, type TLSSocket } from "node:tls";

import type { UpstreamTls } from "../cluster/cluster.ts";
import type { Runtime } from "../listen/context.ts";
import type { TlsCertificate } from "../tls/certificate.ts";
import { dnsNameCovers, subjectAltNames } from "../tls/subject-alt-name.ts";
import { mergeValidation, peerProblem, type PeerValidation } from "../tls/validation.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { chainProblem, nameList } from "./tls-failure.ts";

/** Sessions kept of one context, each of an endpoint and a name. */
const SESSIONS_MAX = 1_000;

/** A cluster's TLS with its secrets as they were when it was made: what its new connections use until one of them changes. */
export class ClientTls {
  readonly settings: UpstreamTls;
  /** Undefined: a secret has not come yet. */
  readonly context: SecureContext | undefined;
  readonly #runtime: Pick<Runtime, "secret">;
  /** By name of the secret: the version that is in use here. */
  readonly #versions = new Map<string, unknown>();
  readonly #validation: PeerValidation | undefined;
  readonly #sessions = new Map<string, Buffer>();

  constructor(settings: UpstreamTls, runtime: Pick<Runtime, "secret">) {
    this.settings = settings;
    this.#runtime = runtime;
    const certificate = settings.certificate && this.#certificate(settings.certificate);
    const validations = settings.validation.map((source) => this.#peerValidation(source));
    const [first, second] = validations;
    this.#validation = first !== undefined && second !== undefined ? mergeValidation(first, second) : first;
    const complete = validations.every((one) => one !== undefined) && !(settings.certificate && !certificate);
    this.context = complete ? this.#makeContext(certificate) : undefined;
  }

  /** Whether the secrets are still those of now. */
  get current(): boolean {
    for (const [name, version] of this.#versions) if (this.#runtime.secret(name) !== version) return false;
    return true;
  }

  /** The session to resume with an endpoint under a name. */
  session(key: string): Buffer | undefined {
    return this.#sessions.get(key);
  }

  /** Keeps a session for the next connection; the oldest makes room. */
  keepSession(key: string, session: Buffer | undefined): void {
    if (!this.settings.resumesSessions || session === undefined) return;
    this.#sessions.delete(key);
    this.#sessions.set(key, session);
    if (this.#sessions.size <= SESSIONS_MAX) return;
    const [oldest] = this.#sessions.keys();
    if (oldest !== undefined) this.#sessions.delete(oldest);
  }

  /** Why the endpoint at the other end of a handshake isn't the one meant, in Envoy's words; undefined: it is. */
  problem(socket: TLSSocket, serverName: string): string | undefined {
    const validation = this.#validation;
    if (validation === undefined || validation.acceptUntrusted) return undefined;
    // The endpoint was verified by these same rules, under this name, when the session was made; it shows no certificate again.
    if (socket.isSessionReused()) return undefined;
    if (validation.ca !== undefined && !socket.authorized) {
      return chainProblem(String(socket.authorizationError));
    }
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return "no certificate";
    const names = subjectAltNames(certificate);
    const listed = nameList(names.map(({ value }) => value));
    if (this.settings.autoSanValidation) {
      const isFor =
        isIP(serverName) === 0
          ? names.some(({ type, value }) => type === "DNS" && dnsNameCovers(value, serverName))
          : certificate.checkIP(serverName) !== undefined;
      if (!isFor) return `verify SAN list, expected SANs: [${serverName}], certificate SANs: ${listed}`;
    }
    const problem = peerProblem(certificate, validation);
    if (problem === undefined) return undefined;
    return problem.part === "cert_hash" ? "cert hash and spki" : `SAN matcher, certificate SANs are ${listed}`;
  }

  #certificate(source: NonNullable<UpstreamTls["certificate"]>): TlsCertificate | undefined {
    if ("own" in source) return source.own;
    const secret = this.#secret(source.secret);
    return secret?.kind === "tlsCertificate" ? secret.value : undefined;
  }

  #peerValidation(source: UpstreamTls["validation"][number]): PeerValidation | undefined {
    if ("own" in source) return source.own;
    const secret = this.#secret(source.secret);
    return secret?.kind === "validationContext" ? secret.value : undefined;
  }

  #secret(name: string) {
    const secret = this.#runtime.secret(name);
    this.#versions.set(name, secret);
    return secret;
  }

  #makeContext(certificate: TlsCertificate | undefined): SecureContext {
    const { minVersion, maxVersion, ciphers, ecdhCurve, sigalgs } = this.settings;
    const { ca, crl } = this.#validation ?? {};
    return createSecureContext({
      minVersion,
      maxVersion,
      ...(ciphers !== undefined && { ciphers }),
      ...(ecdhCurve !== undefined && { ecdhCurve }),
      ...(sigalgs !== undefined && { sigalgs }),
      ...(ca !== undefined && ca !== "system" && { ca }),
      ...(crl !== undefined && { crl }),
      ...(certificate !== undefined && { cert: certificate.chain, key: certificate.key }),
      ...(certificate?.passphrase !== undefined && { passphrase: certificate.passphrase }),
    });
  }
}

const made = new WeakMap<UpstreamTls, ClientTls>();

/** The TLS of a cluster's new connections. */
export function clientTls(cluster: Pick<ClusterContext, "secrets">, settings: UpstreamTls): ClientTls {
  let tls = made.get(settings);
  if (tls?.current !== true) {
    tls = new ClientTls(settings, cluster.secrets);
    made.set(settings, tls);
  }
  return tls;
}
