const QUAD = 4;
const BASE64 = /^[A-Za-z0-9+/=]*$/;
/** "=" only at the end of a group of four, one or two of them. */
const GROUPS = /^(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)*$/;

/** Decodes base64 piece by piece (RFC 4648, 4); several encodings with their padding may follow each other. */
export class Base64Decoder {
  #rest = "";

  /** Whether what came so far ends with a whole group. */
  get complete(): boolean {
    return this.#rest === "";
  }

  /** The bytes of all groups that are whole by now; undefined: it isn't base64. */
  decode(piece: Buffer): Buffer | undefined {
    const text = this.#rest + piece.toString("latin1");
    const whole = text.length - (text.length % QUAD);
    const groups = text.slice(0, whole);
    this.#rest = text.slice(whole);
    if (!GROUPS.test(groups) || !BASE64.test(this.#rest)) return undefined;
    if (!groups.includes("=")) return Buffer.from(groups, "base64");
    return Buffer.concat(groups.split(/(?<==)(?!=)/).map((part) => Buffer.from(part, "base64")));
  }
}
