/**
 * Which bytes may stand where, as tables indexed by byte. Everything not named by the grammar is refused; the strictness is what keeps
 * two parsers from reading one message in two ways.
 */

const table = (allowed: Iterable<number>): Uint8Array => {
  const bytes = new Uint8Array(256);
  for (const byte of allowed) bytes[byte] = 1;
  return bytes;
};

const bytesOf = (text: string): number[] => [...Buffer.from(text, "latin1")];

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

const DIGITS = "0123456789";
const LOWER = "abcdefghijklmnopqrstuvwxyz";
const UPPER = LOWER.toUpperCase();

/** RFC 9110, 5.6.2 `tchar`. An upper-case letter is 2, so that a scan tells whether a name must be lowered. */
export const TOKEN: Uint8Array = table(bytesOf(`!#$%&'*+-.^_\`|~${DIGITS}${LOWER}${UPPER}`));
for (const byte of bytesOf(UPPER)) TOKEN[byte] = 2;

/** RFC 9110, 5.5 `field-vchar`, SP and HTAB: everything but the controls. */
export const VALUE: Uint8Array = table([0x09, ...range(0x20, 0x7e), ...range(0x80, 0xff)]);

/** The same, without a table. */
export const isValueByte = (byte: number): boolean => (byte >= 0x20 && byte !== 0x7f) || byte === 0x09;

/**
 * What a request target may hold: visible ASCII without "#". RFC 3986 also excludes `"<>\^`{|}`, which browsers and Envoy let through;
 * "\" is dealt with by path normalisation.
 */
export const TARGET: Uint8Array = table(range(0x21, 0x7e));
TARGET[0x23] = 0;
// By which a scan tells whether a path may need to be normalised (filters/path.ts): what is or should be escaped, and slashes.
for (const byte of bytesOf('%\\"<>^`{|}/')) TARGET[byte] = 2;

/** Value of a hexadecimal digit, 255 for other bytes. */
export const HEX: Uint8Array = new Uint8Array(256).fill(255);
for (const [value, byte] of bytesOf("0123456789abcdef").entries()) HEX[byte] = value;
for (const [value, byte] of bytesOf("ABCDEF").entries()) HEX[byte] = value + 10;

/** Whether text is a non-empty token (RFC 9110, 5.6.2). */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (TOKEN[text.charCodeAt(i)] === 0) return false;
  return text.length > 0;
}

/** Whether text may stand in a field value: no control characters but HTAB, nothing outside latin1. */
export function isFieldValue(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (VALUE[text.charCodeAt(i)] !== 1) return false;
  return true;
}

/**
 * `host [ ":" port ]` of RFC 3986 with a non-empty host: a reg-name, or an address in brackets. A port above 65535 is none: who counts in 16 bits would read
 * another one.
 */
const AUTHORITY =
  /^(?:[-._~!$&'()*+,;=%0-9A-Za-z]+|\[[0-9A-Fa-f:.]{2,}\])(?::(?:[0-5]?[0-9]{0,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?$/;

/**
 * Whether text is `host [ ":" port ]` with a non-empty host; user information is refused (RFC 9110, 4.2.4). By a RegExp: characters of a part of
 * a longer string cost 46 instructions each in a loop, and 15 there.
 */
export const isAuthority = (text: string): boolean => AUTHORITY.test(text);

const HTTP1 = Buffer.from("HTTP/1.", "latin1");

/** Whether "HTTP/1." is at a place. */
export function isHttp1At(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < HTTP1.length; i++) if (bytes[at + i] !== HTTP1[i]) return false;
  return true;
}
