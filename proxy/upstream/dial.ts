import { connect, isIP, type OnReadOpts, type Socket } from "node:net";
import {
  checkServerIdentity,
  type ConnectionOptions,
  connect as connectTls,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
} from "node:tls";

import type { Endpoint, UpstreamTls } from "../cluster/cluster.ts";

/** Takes what was read: the first `length` bytes of the buffer, valid during the call only. */
type OnRead = (bytes: Buffer, length: number) => void;

const READ_BYTES = 65_536;
const TLS_READ_BYTES = 16_384;

/**
 * One buffer for all plain connections of the worker: libuv asks for it, reads into it and calls back without anything between, and nobody
 * keeps it. A TLS connection decrypts at other times, too, and has its own.
 */
const sharedBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

/** Begins to connect to an endpoint. The socket keeps its half open when the other is closed; the caller closes it. */
export function openSocket(endpoint: Endpoint, tls: UpstreamTls | undefined, onRead: OnRead): Socket {
  const { address: host, port } = endpoint;
  const callback = (length: number, bytes: Uint8Array): boolean => {
    onRead(bytes as Buffer, length);
    return true;
  };
  if (tls === undefined) {
    return connect({ host, port, noDelay: true, allowHalfOpen: true, onread: { buffer: sharedBuffer, callback } });
  }
  const servername = tls.sni || (isIP(endpoint.hostname) === 0 ? endpoint.hostname : "");
  const options: ConnectionOptions & { onread: OnReadOpts; allowHalfOpen: boolean } = {
    host,
    port,
    secureContext: contextOf(tls),
    ...(servername !== "" && { servername }),
    rejectUnauthorized: tls.verify,
    checkServerIdentity: (_, certificate) => checkNames(tls.subjectAltNames, certificate),
    ALPNProtocols: ["http/1.1"],
    allowHalfOpen: true,
    onread: { buffer: Buffer.allocUnsafeSlow(TLS_READ_BYTES), callback },
  };
  return connectTls(options).setNoDelay(true);
}

/** The chain was verified already; like Envoy we check the name only where names are configured, and then any of them will do. */
function checkNames(names: readonly string[], certificate: PeerCertificate): Error | undefined {
  if (names.length === 0) return undefined;
  for (const name of names) if (checkServerIdentity(name, certificate) === undefined) return undefined;
  return new Error("certificate has none of the expected subject alternative names");
}

const contexts = new WeakMap<UpstreamTls, SecureContext>();

function contextOf(tls: UpstreamTls): SecureContext {
  let context = contexts.get(tls);
  if (context === undefined) {
    context = createSecureContext({ minVersion: "TLSv1.2", ...(tls.ca !== undefined && { ca: tls.ca }) });
    contexts.set(tls, context);
  }
  return context;
}
