import { isIPv4, isIPv6, SocketAddress } from "node:net";

/** A PROXY header at the beginning of a connection (haproxy.org, "The PROXY protocol", 2.1 and 2.2). */
export type ProxyHeader =
  | { readonly kind: "incomplete" }
  /** The connection begins with something else. */
  | { readonly kind: "none" }
  /** It begins like a header and is none: the connection must be closed. */
  | { readonly kind: "malformed" }
  /** `source`: undefined where the header names none (LOCAL, UNKNOWN), and the peer itself counts. `length`: bytes to take off. */
  | { readonly kind: "header"; readonly length: number; readonly source: ProxySource | undefined };

/** The addresses that a PROXY header names. */
export interface ProxySource {
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly destinationAddress: string;
  readonly destinationPort: number;
}

const V2_SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const V1_BYTES_MAX = 107;
/** Addresses and TLVs; more than any sender has to say. */
const V2_BODY_BYTES_MAX = 4096;

/** The longest beginning of a connection that may have to be looked at. */
export const PROXY_HEADER_BYTES_MAX = 16 + V2_BODY_BYTES_MAX;

/** Which versions are taken; Envoy's disallowed_versions. */
export interface ProxyVersions {
  readonly v1: boolean;
  readonly v2: boolean;
}

/** Reads a header in full, of either version. */
export function readProxyHeader(bytes: Buffer, versions: ProxyVersions): ProxyHeader {
  if (startsLike(bytes, V2_SIGNATURE)) {
    if (bytes.length < 16) return { kind: "incomplete" };
    return versions.v2 ? readV2(bytes) : { kind: "malformed" };
  }
  if (startsLike(bytes, Buffer.from("PROXY "))) {
    if (bytes.length < 6) return { kind: "incomplete" };
    return versions.v1 ? readV1(bytes) : { kind: "malformed" };
  }
  return { kind: "none" };
}

function startsLike(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.subarray(0, length).equals(signature.subarray(0, length));
}

function readV1(bytes: Buffer): ProxyHeader {
  const end = bytes.indexOf("\r\n");
  if (end < 0) return bytes.length >= V1_BYTES_MAX ? { kind: "malformed" } : { kind: "incomplete" };
  if (end + 2 > V1_BYTES_MAX) return { kind: "malformed" };
  const line = bytes.toString("latin1", 0, end);
  if (/^PROXY UNKNOWN(?: |$)/.test(line)) return { kind: "header", length: end + 2, source: undefined };
  const match = /^PROXY TCP([46]) ([0-9a-f.:]+) ([0-9a-f.:]+) (\d{1,5}) (\d{1,5})$/i.exec(line);
  if (match === null) return { kind: "malformed" };
  const [, version, sourceAddress = "", destinationAddress = "", sourcePort, destinationPort] = match;
  const isAddress = version === "4" ? isIPv4 : isIPv6;
  const ports = [Number(sourcePort), Number(destinationPort)];
  if (!isAddress(sourceAddress) || !isAddress(destinationAddress) || ports.some((port) => port > 65_535)) {
    return { kind: "malformed" };
  }
  const source = { sourceAddress, destinationAddress, sourcePort: ports[0] ?? 0, destinationPort: ports[1] ?? 0 };
  return { kind: "header", length: end + 2, source };
}

function readV2(bytes: Buffer): ProxyHeader {
  const command = bytes.readUInt8(12);
  const length = bytes.readUInt16BE(14);
  if (command >> 4 !== 2 || (command & 15) > 1 || length > V2_BODY_BYTES_MAX) return { kind: "malformed" };
  if (bytes.length < 16 + length) return { kind: "incomplete" };
  const header = { kind: "header", length: 16 + length, source: undefined } as const;
  const family = bytes.readUInt8(13);
  if ((command & 15) === 0) return header; // LOCAL: the sender speaks for itself, as in a health check.
  const size = family === 0x11 ? 4 : family === 0x21 ? 16 : undefined;
  if (size === undefined) return family === 0 ? header : { kind: "malformed" };
  if (length < size * 2 + 4) return { kind: "malformed" };
  const address = (at: number) => addressText(bytes.subarray(at, at + size));
  return {
    ...header,
    source: {
      sourceAddress: address(16),
      destinationAddress: address(16 + size),
      sourcePort: bytes.readUInt16BE(16 + size * 2),
      destinationPort: bytes.readUInt16BE(18 + size * 2),
    },
  };
}

function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(at * 2).toString(16));
  // The text that everybody else writes of it (RFC 5952).
  return new SocketAddress({ address: groups.join(":"), family: "ipv6" }).address;
}
