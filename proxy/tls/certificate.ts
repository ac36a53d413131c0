import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

import type { TlsCertificate as TlsCertificateMessage } from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";

import type { Place } from "../compile.ts";
import { readDataSource } from "./data-source.ts";
import { subjectAltNames } from "./subject-alt-name.ts";

/** A certificate with its key, checked: the key is that of the certificate. Immutable; a new version is a new object. */
export interface TlsCertificate {
  /** PEM, the leaf first. */
  readonly chain: Buffer;
  /** PEM. Secret. */
  readonly key: Buffer;
  /** Of the key. Secret. */
  readonly passphrase: string | undefined;
  /** DER of the first of the chain. */
  readonly leaf: Buffer;
  readonly keyType: "rsa" | "ec" | "ed25519";
  /** The DNS names that it is for, lower case, perhaps with "*." in front; without any the common name, as in Envoy. */
  readonly names: readonly string[];
  /** Sent to clients that ask for it; DER. */
  readonly ocspStaple: Buffer | undefined;
}

/** Compiles a TlsCertificate. Undefined: a problem was reported. */
export function compileTlsCertificate(message: TlsCertificateMessage, place: Place): TlsCertificate | undefined {
  const read = (name: string, source: TlsCertificateMessage["privateKey"]) =>
    source === undefined ? undefined : readDataSource(source, place.field(name));
  if (message.certificateChain === undefined) place.field("certificate_chain").refuse("must be set");
  if (message.privateKey === undefined) place.field("private_key").refuse("must be set");
  const chain = read("certificate_chain", message.certificateChain);
  const key = read("private_key", message.privateKey);
  const passphrase = read("password", message.password)?.toString("utf8").replace(/\n$/, "");
  const ocspStaple = read("ocsp_staple", message.ocspStaple);
  if (chain === undefined || key === undefined) return undefined;
  const leaf = attempt(() => new X509Certificate(chain), place.field("certificate_chain"), "is not a PEM certificate");
  // What OpenSSL says of a key may quote it.
  const privateKey = attempt(
    () => createPrivateKey({ key, passphrase: passphrase ?? "" }),
    place.field("private_key"),
    "is not a PEM private key, or its password is wrong",
  );
  const keyType = privateKey && keyTypeOf(privateKey);
  if (leaf === undefined || privateKey === undefined) return undefined;
  if (keyType === undefined) {
    place.field("private_key").refuse("only RSA (at least 2048 bits), P-256, P-384, P-521 and Ed25519 are supported");
    return undefined;
  }
  if (!leaf.checkPrivateKey(privateKey)) {
    place.field("private_key").refuse("is not the key of the certificate");
    return undefined;
  }
  return { chain, key, passphrase, leaf: leaf.raw, keyType, names: namesOf(leaf), ocspStaple };
}

function attempt<T>(make: () => T, place: Place, otherwise: string): T | undefined {
  try {
    return make();
  } catch {
    place.refuse(otherwise);
    return undefined;
  }
}

const curves = ["prime256v1", "secp384r1", "secp521r1"];

// As in Envoy: shorter RSA keys and other curves are refused (ContextImpl).
function keyTypeOf({
  asymmetricKeyType: type,
  asymmetricKeyDetails: details,
}: KeyObject): TlsCertificate["keyType"] | undefined {
  if (type === "rsa" && (details?.modulusLength ?? 0) >= 2048) return "rsa";
  if (type === "ec" && curves.includes(details?.namedCurve ?? "")) return "ec";
  return type === "ed25519" ? type : undefined;
}

function namesOf(leaf: X509Certificate): readonly string[] {
  const names = subjectAltNames(leaf).flatMap(({ type, value }) => (type === "DNS" ? [value.toLowerCase()] : []));
  if (names.length > 0) return names;
  const commonName = /(?:^|\n)CN=(.+)/.exec(leaf.subject)?.[1];
  return commonName === undefined ? [] : [commonName.toLowerCase()];
}
