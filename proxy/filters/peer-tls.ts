import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";

/** A client's certificate, as access logs and X-Forwarded-Client-Cert show it. Hexadecimal text is in lower case. */
export interface PeerCertificate {
  /** RFC 2253, the most specific part first. */
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly fingerprint256: string;
  /** SHA-1. */
  readonly fingerprint1: string;
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  readonly validFrom: Date;
  readonly validTo: Date;
  readonly pem: string;
  /** The certificate and those that the client sent with it. */
  readonly chainPem: string;
}

/** What a client's TLS handshake told. Its certificate is read when somebody asks for it, once a connection. */
export class PeerTls {
  /** "TLSv1.3". */
  readonly version: string;
  /** OpenSSL's name of the cipher. */
  readonly cipher: string;
  /** The name that the client asked for; "": none. */
  readonly serverName: string;
  readonly sessionId: string;
  /** The first URI among our own certificate's names; "": none. */
  readonly localUriSan: string;
  readonly #socket: TLSSocket;
  #certificate: PeerCertificate | undefined;
  #read = false;

  /** The handshake must be over. */
  constructor(socket: TLSSocket) {
    this.#socket = socket;
    this.version = socket.getProtocol() ?? "";
    this.cipher = socket.getCipher()?.name ?? "";
    const { servername } = socket as unknown as { servername?: string | false };
    this.serverName = typeof servername === "string" ? servername : "";
    this.sessionId = this.version === "TLSv1.3" ? "" : (socket.getSession()?.toString("hex") ?? "");
    this.localUriSan = sansOf(socket.getX509Certificate(), "URI")[0] ?? "";
  }

  /** The client's certificate, if it was verified; undefined: there is none that means anything. */
  get certificate(): PeerCertificate | undefined {
    if (!this.#read) {
      this.#read = true;
      const x509 = this.#socket.authorized ? this.#socket.getPeerX509Certificate() : undefined;
      this.#certificate = x509 && certificateOf(x509);
    }
    return this.#certificate;
  }
}

function certificateOf(x509: X509Certificate): PeerCertificate {
  let chainPem = "";
  for (let one: X509Certificate | undefined = x509; one !== undefined; one = issuerOf(one)) chainPem += one.toString();
  return {
    subject: rfc2253(x509.subject),
    issuer: rfc2253(x509.issuer),
    serial: x509.serialNumber.toLowerCase(),
    fingerprint256: hex(x509.fingerprint256),
    fingerprint1: hex(x509.fingerprint),
    uriSans: sansOf(x509, "URI"),
    dnsSans: sansOf(x509, "DNS"),
    validFrom: new Date(x509.validFrom),
    validTo: new Date(x509.validTo),
    pem: x509.toString(),
    chainPem,
  };
}

/** A self-signed certificate is its own issuer. */
const issuerOf = ({ issuerCertificate, fingerprint256 }: X509Certificate): X509Certificate | undefined =>
  issuerCertificate?.fingerprint256 === fingerprint256 ? undefined : issuerCertificate;

const hex = (fingerprint: string) => fingerprint.replaceAll(":", "").toLowerCase();

/** Node gives one part a line, the most general first, escaped as RFC 2253 says. */
const rfc2253 = (name: string | undefined) => (name ?? "").split("\n").toReversed().join(",");

/** Names of one kind. Node joins all by ", " and quotes, as JSON, those that hold anything that could be misread. */
function sansOf(x509: X509Certificate | undefined, kind: "URI" | "DNS"): string[] {
  const found: string[] = [];
  for (const [, type, plain, quoted] of (x509?.subjectAltName ?? "").matchAll(
    /([A-Za-z ]+):(?:([^",]*)|("(?:[^"\\]|\\.)*"))(?:, |$)/g,
  )) {
    if (type === kind) found.push(quoted === undefined ? (plain ?? "") : (JSON.parse(quoted) as string));
  }
  return found;
}
