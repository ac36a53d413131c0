import { hkdfSync } from "node:crypto";

import type { TlsSessionTicketKeys } from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";
import type { Secret as SecretMessage } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";

import { type Compiled, Place } from "../compile.ts";
import { compileTlsCertificate, type TlsCertificate } from "./certificate.ts";
import { readDataSource } from "./data-source.ts";
import { compileValidation, type PeerValidation } from "./validation.ts";

/** A secret (SDS) made ready for use. Immutable: another version is another object, so that what is made of it can be kept by identity. */
export type Secret =
  | { readonly kind: "tlsCertificate"; readonly value: TlsCertificate }
  | { readonly kind: "validationContext"; readonly value: PeerValidation }
  | { readonly kind: "sessionTicketKeys"; readonly value: TicketKeys }
  | { readonly kind: "genericSecret"; readonly value: Buffer };

/** A key for session tickets in the shape that node:tls takes: 48 bytes (name, HMAC, AES-128). */
export type TicketKeys = Buffer;

/** Compiles a Secret; problems carry field paths from its root, and never a part of the secret. */
export function compileSecret({ type }: SecretMessage): Compiled<Secret> {
  const place = Place.root();
  const secret = compileType(type, place);
  return place.result(secret as Secret); // Undefined only if there are problems.
}

function compileType(type: SecretMessage["type"], place: Place): Secret | undefined {
  switch (type.case) {
    case "tlsCertificate": {
      const value = compileTlsCertificate(type.value, place.field("tls_certificate"));
      return value && { kind: type.case, value };
    }
    case "validationContext":
      return { kind: type.case, value: compileValidation(type.value, place.field("validation_context")) };
    case "sessionTicketKeys": {
      const value = compileTicketKeys(type.value, place.field("session_ticket_keys"));
      return value && { kind: type.case, value };
    }
    case "genericSecret": {
      const at = place.field("generic_secret").field("secret");
      if (type.value.secret === undefined) at.refuse("must be set");
      const value = type.value.secret && readDataSource(type.value.secret, at);
      return value && { kind: type.case, value };
    }
    default:
      place.refuse("one of tls_certificate, session_ticket_keys, validation_context, generic_secret must be set");
      return undefined;
  }
}

/** Envoy's length of a key. */
const TICKET_KEY_BYTES = 80;

/**
 * The key that tickets are made with, the first of the list. node:tls knows one at a time: a ticket of a former key costs its client one
 * full handshake. Ours is derived, since Node's keys are shorter than Envoy's: sessions go over between native proxies only.
 */
export function compileTicketKeys({ keys }: TlsSessionTicketKeys, place: Place): TicketKeys | undefined {
  const read = keys.map((source, index) => {
    const at = place.item("keys", index);
    const bytes = readDataSource(source, at);
    if (bytes !== undefined && bytes.length !== TICKET_KEY_BYTES) at.refuse(`must be ${TICKET_KEY_BYTES} bytes`);
    return bytes;
  });
  if (keys.length === 0) place.field("keys").refuse("must not be empty");
  const [first] = read;
  return first && Buffer.from(hkdfSync("sha256", first, "", "sluice session ticket", 48));
}
