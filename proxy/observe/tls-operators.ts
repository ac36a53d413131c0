import type { PeerTls, PeerCertificate } from "../filters/peer-tls.ts";
import { toWire } from "../route/text.ts";
import type { Operator } from "./operators.ts";

const tls =
  (read: (tls: PeerTls) => string): Operator =>
  ({ peer }) =>
    wire(peer.tls && read(peer.tls));

const certificate =
  (read: (certificate: PeerCertificate) => string): Operator =>
  ({ peer }) => {
    const certificateOfPeer = peer.tls?.certificate;
    return wire(certificateOfPeer && read(certificateOfPeer));
  };

const wire = (text: string | undefined) => (text === undefined || text === "" ? undefined : toWire(text));

/** Whole seconds in UTC, as Envoy writes a certificate's times. */
const time = (date: Date) => date.toISOString();

/** What the client's TLS handshake and certificate tell; unset without TLS or without a verified certificate. */
export const tlsOperators: Readonly<Record<string, Operator>> = {
  REQUESTED_SERVER_NAME: tls(({ serverName }) => serverName),
  DOWNSTREAM_TLS_VERSION: tls(({ version }) => version),
  DOWNSTREAM_TLS_CIPHER: tls(({ cipher }) => cipher),
  DOWNSTREAM_TLS_SESSION_ID: tls(({ sessionId }) => sessionId),
  DOWNSTREAM_LOCAL_URI_SAN: tls(({ localUriSan }) => localUriSan),
  DOWNSTREAM_PEER_SUBJECT: certificate(({ subject }) => subject),
  DOWNSTREAM_PEER_ISSUER: certificate(({ issuer }) => issuer),
  DOWNSTREAM_PEER_SERIAL: certificate(({ serial }) => serial),
  DOWNSTREAM_PEER_FINGERPRINT_256: certificate(({ fingerprint256 }) => fingerprint256),
  DOWNSTREAM_PEER_FINGERPRINT_1: certificate(({ fingerprint1 }) => fingerprint1),
  DOWNSTREAM_PEER_URI_SAN: certificate(({ uriSans }) => uriSans.join(",")),
  DOWNSTREAM_PEER_DNS_SAN: certificate(({ dnsSans }) => dnsSans.join(",")),
  DOWNSTREAM_PEER_CERT: certificate(({ pem }) => encodeURIComponent(pem)),
  DOWNSTREAM_PEER_CERT_V_START: certificate(({ validFrom }) => time(validFrom)),
  DOWNSTREAM_PEER_CERT_V_END: certificate(({ validTo }) => time(validTo)),
};
