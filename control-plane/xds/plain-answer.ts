import { DeltaDiscoveryRequestSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";
import { servedTypes } from "#proto/resource-types.ts";

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
    if (tag === TYPE_URL) typeUrl = servedUrl(bytes, at + 2, end);
    else if (tag === NONCE && isAscii(bytes, at + 2, end)) nonce = bytes.toString("latin1", at + 2, end);
    else return undefined;
    at = end;
  }
  return typeUrl === undefined || nonce === undefined ? undefined : { typeUrl, nonce };
}

const served = servedTypes.map(({ typeUrl }) => ({ typeUrl, bytes: Buffer.from(typeUrl) }));

/** The type URL that stands there, as the string that is known by it; undefined if none of those that are served does. */
function servedUrl(bytes: Buffer, start: number, end: number): string | undefined {
  return served.find((url) => url.bytes.length === end - start && endsWith(bytes, end, url.bytes))?.typeUrl;
}

/** From the end: type URLs begin alike. */
function endsWith(bytes: Buffer, end: number, expected: Buffer): boolean {
  for (let back = 1; back <= expected.length; back++) {
    if (bytes[end - back] !== expected[expected.length - back]) return false;
  }
  return true;
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if ((bytes[at] ?? 0) >= VARINT_BYTE) return false;
  return true;
}
