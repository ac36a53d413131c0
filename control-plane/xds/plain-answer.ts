import { DeltaDiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";
import { servedTypeByUrl } from "#proto/resource-types.ts";

/** A request that accepts a response and does nothing else. */
export interface PlainAnswer {
  readonly typeUrl: string;
  readonly nonce: string;
}

const LENGTH_DELIMITED = 2;
const tagOf = ({ number }: { readonly number: number }) => (number << 3) | LENGTH_DELIMITED;
const { typeUrl: typeUrlField, responseNonce: nonceField } = DeltaDiscoveryRequestSchema.field;
const TYPE_URL = tagOf(typeUrlField);
const NONCE = tagOf(nonceField);
/** Tags and lengths below this are one byte (protobuf encoding guide, "Base 128 Varints"). */
const VARINT_BYTE = 0x80;

/**
 * Reads a DeltaDiscoveryRequest that has a type that is served and a nonce in ASCII, and nothing else: what a client in step says after each change, and a
 * thousand of them at once.
 *
 * @returns undefined if it is any other message, or none
 */
export function plainAnswer(bytes: Buffer): PlainAnswer | undefined {
  let typeUrl: string | undefined;
  let nonce: string | undefined;
  for (let at = 0; at < bytes.length; ) {
    const [tag, length] = [bytes[at], bytes[at + 1] ?? VARINT_BYTE];
    const end = at + 2 + length;
    if (length >= VARINT_BYTE || end > bytes.length) return undefined;
    const text = bytes.toString("latin1", at + 2, end);
    if (tag === TYPE_URL) typeUrl = text;
    else if (tag === NONCE && isAscii(bytes, at + 2, end)) nonce = text;
    else return undefined;
    at = end;
  }
  if (typeUrl === undefined || nonce === undefined || !servedTypeByUrl.has(typeUrl)) return undefined;
  return { typeUrl, nonce };
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if ((bytes[at] ?? 0) >= VARINT_BYTE) return false;
  return true;
}
