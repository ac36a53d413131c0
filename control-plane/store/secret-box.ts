import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";

import { type DescMessage, type MessageShape } from "@bufbuild/protobuf";

import { mapSecrets } from "../model/secrets.ts";

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_BYTES = 4;

/** Of the layout below; another one would have another first byte. */
const VERSION = 1;
/** The first byte of bytes that are not sealed. */
const PLAIN = 0;

interface SecretKey {
  readonly id: Buffer;
  readonly key: Buffer;
}

/**
 * Encrypts secrets on their way into the database, and decrypts them on their way out: AES-256-GCM (NIST SP 800-38D) with a random nonce,
 * bound to the object that holds the secret, so that none can be moved to another. Sealed: version (1 byte), key id (4), nonce (12),
 * text, tag (16).
 */
export class SecretBox {
  readonly #keys: readonly SecretKey[];

  /** @param keys the first one seals, all of them open; without any, secrets are stored as they are */
  constructor(keys: readonly Buffer[] = []) {
    this.#keys = keys.map((key) => ({ key, id: idOf(key) }));
  }

  /** A message as it is stored. @param owner names the object */
  seal<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>, owner: string): MessageShape<Desc> {
    const [key] = this.#keys;
    if (key === undefined) return message;
    return mapSecrets(schema, message, ({ path, secret: { source } }) =>
      source.case === "value"
        ? { case: "sealed", value: encrypt(key, Buffer.from(source.value), `${owner} ${path}`) }
        : undefined,
    );
  }

  /** A message as it was before it was sealed. @throws Error, without anything secret, if its key is not here or it was changed */
  open<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>, owner: string): MessageShape<Desc> {
    return mapSecrets(schema, message, ({ path, secret: { source } }) => {
      if (source.case !== "sealed") return undefined;
      const sealed = Buffer.from(source.value);
      const key = this.#keyOf(sealed);
      if (sealed[0] !== VERSION || key === undefined) {
        throw new Error(`its ${path} is encrypted with a key that is not given (SLUICE_SECRET_KEY, --secret-key-file)`);
      }
      try {
        return { case: "value", value: decrypt(key, sealed, `${owner} ${path}`).toString("utf8") };
      } catch {
        throw new Error(`its ${path} is not what was encrypted: it was changed, or belongs to another object`);
      }
    });
  }

  /** Bytes that may hold a secret, as they are stored. @param owner names what they are */
  sealBytes(bytes: Uint8Array, owner: string): Uint8Array<ArrayBuffer> {
    const [key] = this.#keys;
    return key === undefined ? new Uint8Array(Buffer.concat([Buffer.of(PLAIN), bytes])) : encrypt(key, bytes, owner);
  }

  /** Bytes as they were before they were sealed. @throws Error, without anything secret, if their key is not here or they were changed */
  openBytes(stored: Uint8Array, owner: string): Uint8Array {
    if (stored[0] === PLAIN) return stored.subarray(1);
    const sealed = Buffer.from(stored);
    const key = this.#keyOf(sealed);
    if (sealed[0] !== VERSION || key === undefined) {
      throw new Error(`${owner} is encrypted with a key that is not given (SLUICE_SECRET_KEY, --secret-key-file)`);
    }
    try {
      return decrypt(key, sealed, owner);
    } catch {
      throw new Error(`${owner} is not what was encrypted: it was changed, or belongs to something else`);
    }
  }

  #keyOf(sealed: Buffer): SecretKey | undefined {
    return this.#keys.find(({ id }) => id.equals(sealed.subarray(1, 1 + KEY_ID_BYTES)));
  }
}

/** Reads keys, one a line: 32 bytes in base64 or hexadecimal. Undefined if any of them isn't one, or there is none. */
export function parseSecretKeys(text: string): readonly Buffer[] | undefined {
  const lines = text.split(/\s+/).filter((line) => line !== "");
  const keys = lines.map((line) =>
    /^[0-9A-Fa-f]{64}$/.test(line) ? Buffer.from(line, "hex") : Buffer.from(line, "base64"),
  );
  return keys.length > 0 && keys.every(({ length }) => length === KEY_BYTES) ? keys : undefined;
}

/** Tells keys apart without telling anything of them. */
const idOf = (key: Buffer) =>
  createHash("sha256").update("sluice secret key ").update(key).digest().subarray(0, KEY_ID_BYTES);

function encrypt({ key, id }: SecretKey, plain: Uint8Array, owner: string): Uint8Array<ArrayBuffer> {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(owner));
  const body = [cipher.update(plain), cipher.final()];
  return new Uint8Array(Buffer.concat([Buffer.of(VERSION), id, nonce, ...body, cipher.getAuthTag()]));
}

function decrypt({ key }: SecretKey, sealed: Buffer, owner: string): Buffer {
  const nonceAt = 1 + KEY_ID_BYTES;
  const bodyAt = nonceAt + NONCE_BYTES;
  const nonce = sealed.subarray(nonceAt, bodyAt);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(owner));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(sealed.subarray(bodyAt, -TAG_BYTES)), decipher.final()]);
}
