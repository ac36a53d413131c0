import type { Headers } from "../headers.ts";
import { toWire } from "../route/text.ts";
import type { PeerTls } from "./peer-tls.ts";

/** HttpConnectionManager.forward_client_cert_details and set_current_client_cert_details. */
export interface ClientCertOptions {
  readonly forward: "sanitize" | "forward-only" | "append-forward" | "sanitize-set" | "always-forward-only";
  readonly subject: boolean;
  readonly cert: boolean;
  readonly chain: boolean;
  readonly dns: boolean;
  readonly uri: boolean;
}

const XFCC = "x-forwarded-client-cert";

/** Decides what the upstream learns of the client's certificate (Envoy ConnectionManagerUtility::mutateXfccRequestHeader). */
export function mutateClientCert(headers: Headers, tls: PeerTls | undefined, options: ClientCertOptions): void {
  if (options.forward === "always-forward-only") return;
  const certificate = tls?.certificate;
  if (options.forward === "sanitize" || tls === undefined || certificate === undefined) {
    headers.remove(XFCC);
    return;
  }
  if (options.forward === "forward-only") return;
  const parts: string[] = [];
  if (tls.localUriSan !== "") parts.push(`By=${element(tls.localUriSan)}`);
  parts.push(`Hash=${certificate.fingerprint256}`);
  if (options.cert) parts.push(`Cert="${urlEncoded(certificate.pem)}"`);
  if (options.chain) parts.push(`Chain="${urlEncoded(certificate.chainPem)}"`);
  if (options.subject) parts.push(`Subject="${visible(certificate.subject)}"`);
  if (options.uri) {
    if (certificate.uriSans.length === 0) parts.push("URI=");
    for (const uri of certificate.uriSans) parts.push(`URI=${element(uri)}`);
  }
  if (options.dns) for (const name of certificate.dnsSans) parts.push(`DNS=${element(name)}`);
  const value = parts.join(";");
  const before = options.forward === "append-forward" ? headers.get(XFCC) : undefined;
  headers.set(XFCC, before === undefined ? value : `${before},${value}`);
}

/** What a certificate says stands between ours and other elements: it must neither end its own nor the field. */
const element = (text: string): string => (/[^!-~]|[",;=]/.test(text) ? `"${quoted(text)}"` : text);

const quoted = (text: string): string => visible(text).replace(/["\\]/g, "\\$&");

/** RFC 2253 escapes quotes and backslashes itself; control characters may stand in no field. */
const visible = (text: string): string =>
  // oxlint-disable-next-line no-control-regex -- Those are what may not pass.
  toWire(text).replace(/[\u0000-\u001f\u007f]/g, "?");

/** As Envoy encodes PEM text. */
const urlEncoded = (pem: string): string =>
  pem.replace(/[\n +/=]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
