import { constants } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";

import { peerProblem } from "../tls/validation.ts";
import type { TlsCertificate } from "../tls/certificate.ts";
import type { TicketKeys } from "../tls/secret.ts";
import type { Runtime } from "./context.ts";
import { failureOf, type HandshakeFailure } from "./count-handshake.ts";
import {
  type Credentials,
  certificatesFor,
  type DownstreamTls,
  resolveCredentials,
  sameCredentials,
} from "./downstream-tls.ts";

/** How a handshake ended: with a socket, or not. */
export type Handshake =
  | { readonly ok: true; readonly socket: TLSSocket }
  /** `failure`: what it is counted as; undefined: the client just went away. */
  | { readonly ok: false; readonly reason: string; readonly failure?: HandshakeFailure | undefined };

/**
 * The TLS of one filter chain: shakes hands with clients, by the secrets as they are at the moment. Contexts are made once per version of a secret,
 * not per connection; connections that are open keep what they were made with.
 */
export class TlsServer {
  readonly #tls: DownstreamTls;
  readonly #runtime: Pick<Runtime, "secret">;
  readonly #sharedTicketKeys: () => TicketKeys | undefined;
  /** Handshakes under way, by the addresses and ports of both ends, which are those of one connection. */
  readonly #pending = new Map<string, (handshake: Handshake) => void>();
  #credentials: Credentials | undefined = undefined;
  /** By the certificates that they have, of the present credentials. */
  readonly #servers = new Map<string, Server>();

  constructor(tls: DownstreamTls, runtime: Pick<Runtime, "secret">, ticketKeys: () => TicketKeys | undefined) {
    this.#tls = tls;
    this.#runtime = runtime;
    this.#sharedTicketKeys = ticketKeys;
  }

  /**
   * Shakes hands on a connection; on failure it is closed. The callback comes once, perhaps at once. `serverName`: what its ClientHello names, lower case,
   * which matters only if there are several certificates.
   */
  accept(socket: Socket, serverName: string, done: (handshake: Handshake) => void): void {
    const credentials = this.#refresh();
    if (credentials === undefined) {
      socket.destroy();
      const failure = "server_ssl_socket_factory.downstream_context_secrets_not_ready";
      return done({ ok: false, reason: "a secret has not come yet", failure });
    }
    const key = keyOf(socket);
    if (key === undefined) {
      socket.destroy();
      return done(CLIENT_GONE);
    }
    // Whose client has come back from the same port has been left.
    this.#pending.get(key)?.(CLIENT_GONE);
    this.#pending.set(key, done);
    socket.once("close", () => {
      if (this.#pending.get(key) !== done) return;
      this.#pending.delete(key);
      done(CLIENT_GONE);
    });
    // Who ends its half before hands are shaken has gone; Node would wait for the rest until the handshake's time is over. Afterwards it may, see #secured().
    socket.allowHalfOpen = false;
    this.#serverFor(credentials, serverName).emit("connection", socket);
  }

  /** The secrets as they are now; undefined: one is missing. */
  #refresh(): Credentials | undefined {
    const found = resolveCredentials(this.#tls, this.#runtime);
    if (found === undefined) return undefined;
    const now = { ...found, ticketKeys: found.ticketKeys ?? this.#sharedTicketKeys() };
    if (this.#credentials !== undefined && sameCredentials(now, this.#credentials)) return this.#credentials;
    this.#servers.clear();
    this.#credentials = now;
    return now;
  }

  /**
   * A server with all certificates for a name. Node's SNICallback would not do: of the context that it gives, one certificate only is taken over,
   * so that a client which can't use its key type would be turned away.
   */
  #serverFor(credentials: Credentials, serverName: string): Server {
    const { certificates: all } = credentials;
    const chosen = certificatesFor(all, serverName);
    const key = chosen.map((one) => all.indexOf(one)).join(",");
    let server = this.#servers.get(key);
    if (server === undefined) {
      server = this.#createServer(chosen);
      this.#servers.set(key, server);
    }
    return server;
  }

  #createServer(certificates: readonly TlsCertificate[]): Server {
    const { applicationProtocols: ours, requireClientCertificate, validation, handshakeTimeoutMs } = this.#tls;
    const server = createServer({
      ...this.#contextOptions(certificates),
      requestCert: requireClientCertificate || validation.length > 0,
      // We look ourselves, since there is more to look at than the chain.
      rejectUnauthorized: false,
      handshakeTimeout: handshakeTimeoutMs,
      // Without a protocol in common the handshake ends with an alert (RFC 7301, 3.2).
      ...(ours.length > 0 && {
        ALPNCallback: ({ protocols }: { protocols: readonly string[] }) => ours.find((one) => protocols.includes(one)),
      }),
    })
      .on("secureConnection", (socket) => this.#secured(socket))
      .on("tlsClientError", (error, socket) =>
        this.#settle(socket, { ok: false, reason: error.message, failure: failureOf(error) }),
      );
    // Whoever listens has each handshake stop for it.
    if (certificates.some(({ ocspStaple }) => ocspStaple !== undefined)) {
      server.on("OCSPRequest", (certificate, _issuer, callback) => callback(null, this.#staple(certificate)));
    }
    return server;
  }

  #contextOptions(certificates: readonly TlsCertificate[]): SecureContextOptions & { ticketKeys?: Buffer } {
    const { minVersion, maxVersion, ciphers, ecdhCurve, sigalgs, disableTickets, sessionTimeoutSeconds } = this.#tls;
    const validation = this.#credentials?.validation;
    const ticketKeys = this.#credentials?.ticketKeys;
    return {
      cert: certificates.map(({ chain }) => chain),
      key: certificates.map(({ key, passphrase }) => ({ pem: key, passphrase })),
      ...(Buffer.isBuffer(validation?.ca) && { ca: validation.ca }),
      ...(validation?.crl !== undefined && { crl: validation.crl }),
      minVersion,
      maxVersion,
      ...(ciphers !== undefined && { ciphers }),
      ...(ecdhCurve !== undefined && { ecdhCurve }),
      ...(sigalgs !== undefined && { sigalgs }),
      honorCipherOrder: true,
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION | (disableTickets ? constants.SSL_OP_NO_TICKET : 0),
      // A session that was made under other rules must not stand for a client certificate here (at most 32 bytes).
      sessionIdContext: (validation?.fingerprint ?? "").slice(0, 32),
      ...(ticketKeys !== undefined && { ticketKeys }),
      ...(sessionTimeoutSeconds !== undefined && { sessionTimeout: sessionTimeoutSeconds }),
    };
  }

  #secured(socket: TLSSocket): void {
    socket.allowHalfOpen = true;
    this.#settle(socket, this.#clientProblem(socket) ?? { ok: true, socket });
  }

  #clientProblem(socket: TLSSocket): Handshake | undefined {
    const { requireClientCertificate, requireSni } = this.#tls;
    if (requireSni && !socket.servername) return refusal("the client names no server", "ssl.connection_error");
    const validation = this.#credentials?.validation;
    if (!requireClientCertificate && validation === undefined) return undefined;
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) {
      return requireClientCertificate ? refusal("the client has no certificate", "ssl.fail_verify_no_cert") : undefined;
    }
    if (validation === undefined || validation.acceptUntrusted) return undefined;
    if (validation.ca !== undefined && !socket.authorized)
      return refusal(`client certificate: ${String(socket.authorizationError)}`, "ssl.fail_verify_error");
    const problem = peerProblem(certificate, validation);
    return problem && refusal(problem.reason, `ssl.fail_verify_${problem.part}`);
  }

  #staple(certificate: Buffer): Buffer | null {
    const found = this.#credentials?.certificates.find(({ leaf }) => leaf.equals(certificate));
    return found?.ocspStaple ?? null;
  }

  #settle(socket: TLSSocket, handshake: Handshake): void {
    const key = keyOf(socket);
    const done = key === undefined ? undefined : this.#pending.get(key);
    if (key !== undefined) this.#pending.delete(key);
    // Who left meanwhile is nobody's any more.
    if (!handshake.ok || done === undefined) socket.destroy();
    done?.(handshake);
  }
}

const refusal = (reason: string, failure: HandshakeFailure): Handshake => ({ ok: false, reason, failure });

const CLIENT_GONE: Handshake = { ok: false, reason: "the client closed the connection" };

/**
 * What tells a connection from all others that are open. A client may use one port towards several of our addresses. Undefined: it was reset, and
 * the kernel does not know its other end any more.
 */
const keyOf = ({ remoteAddress, remotePort, localAddress, localPort }: Socket): string | undefined =>
  remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
