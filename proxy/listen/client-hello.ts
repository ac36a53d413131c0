/** What the first bytes of a connection are. `incomplete`: more are needed to tell. */
export type ClientHello =
  | { readonly kind: "incomplete" }
  | { readonly kind: "other" }
  | { readonly kind: "hello"; readonly serverName: string; readonly applicationProtocols: readonly string[] };

/** A ClientHello is longer only if somebody means harm; Envoy's limit is the same (TLS_MAX_CLIENT_HELLO). */
export const CLIENT_HELLO_BYTES_MAX = 64 * 1024;

const INCOMPLETE: ClientHello = { kind: "incomplete" };
const OTHER: ClientHello = { kind: "other" };

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const RECORD_HEADER = 5;
const RECORD_BYTES_MAX = 16_384;
const SERVER_NAME = 0;
const ALPN = 16;

/**
 * Reads a ClientHello (RFC 8446, 4.1.2) for its server name and application protocols, without taking it seriously otherwise: the TLS
 * library does that. It may come in any number of pieces and of records. A name that is no host name counts as none.
 */
export function readClientHello(bytes: Buffer): ClientHello {
  const message = unwrapRecords(bytes);
  if (!Buffer.isBuffer(message)) return message;
  try {
    const reader = new Reader(message.subarray(4));
    reader.skip(2 + 32); // legacy_version, random
    reader.skip(reader.u8()); // legacy_session_id
    reader.skip(reader.u16()); // cipher_suites
    reader.skip(reader.u8()); // legacy_compression_methods
    let serverName = "";
    let applicationProtocols: readonly string[] = [];
    if (reader.left > 0) {
      const extensions = reader.part(reader.u16());
      while (extensions.left > 0) {
        const type = extensions.u16();
        const body = extensions.part(extensions.u16());
        if (type === SERVER_NAME) serverName = readServerName(body);
        else if (type === ALPN) applicationProtocols = readProtocols(body);
      }
    }
    return { kind: "hello", serverName, applicationProtocols };
  } catch (error) {
    if (error instanceof RangeError) return OTHER;
    throw error;
  }
}

/** The handshake message out of its records, whole. */
function unwrapRecords(bytes: Buffer): Buffer | ClientHello {
  const parts: Buffer[] = [];
  let have = 0;
  for (let at = 0; ; ) {
    if (at >= bytes.length) return INCOMPLETE;
    if (bytes[at] !== HANDSHAKE_RECORD || (at + 1 < bytes.length && bytes[at + 1] !== 3)) return OTHER;
    if (at + RECORD_HEADER > bytes.length) return INCOMPLETE;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > RECORD_BYTES_MAX) return OTHER;
    const part = bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length);
    parts.push(part);
    have += part.length;
    const message = parts.length === 1 ? part : Buffer.concat(parts);
    if (message.length > 0 && message[0] !== CLIENT_HELLO) return OTHER;
    if (have >= 4) {
      const wanted = 4 + message.readUIntBE(1, 3);
      if (wanted > CLIENT_HELLO_BYTES_MAX) return OTHER;
      if (have >= wanted) return message.subarray(0, wanted);
    }
    at += RECORD_HEADER + length;
  }
}

function readServerName(body: Reader): string {
  const names = body.part(body.u16());
  while (names.left > 0) {
    const isHostName = names.u8() === 0;
    const name = names.part(names.u16()).text().toLowerCase();
    if (isHostName) return /^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$/.test(name) ? name.replace(/\.$/, "") : "";
  }
  return "";
}

function readProtocols(body: Reader): readonly string[] {
  const list = body.part(body.u16());
  const protocols: string[] = [];
  while (list.left > 0) protocols.push(list.part(list.u8()).text());
  return protocols;
}

/** Reads numbers and parts from the front; RangeError where there is too little. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#advance(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#advance(2));
  }

  skip(length: number): void {
    this.#advance(length);
  }

  part(length: number): Reader {
    const from = this.#advance(length);
    return new Reader(this.#bytes.subarray(from, from + length));
  }

  text(): string {
    return this.#bytes.toString("latin1");
  }

  #advance(length: number): number {
    const from = this.#at;
    if (from + length > this.#bytes.length) throw new RangeError("cut short");
    this.#at += length;
    return from;
  }
}
