const NOT_ASCII = /[\u0080-\uffff]/;

/** Whether a string has only ASCII characters; nearly every string in HTTP does. */
export const isAscii = (text: string): boolean => !NOT_ASCII.test(text);

/**
 * Configuration text as it looks on the wire. Header values and paths are latin1 strings, one character a byte, while protobuf strings
 * are decoded UTF-8; Envoy compares bytes, so text to compare with is turned into its UTF-8 bytes, one character each.
 */
export const toWire = (text: string): string => (isAscii(text) ? text : Buffer.from(text, "utf8").toString("latin1"));

/** The other way: wire text as the characters that its bytes encode, for engines that match characters. */
export const fromWire = (text: string): string => (isAscii(text) ? text : Buffer.from(text, "latin1").toString("utf8"));

/** Lower case for A-Z only, as Envoy's absl::AsciiStrToLower; toLowerCase would also change the bytes of other alphabets. */
export const asciiLower = (text: string): string =>
  isAscii(text) ? text.toLowerCase() : text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

/** The path without query and fragment: what routes are matched against (Envoy PathUtil::removeQueryAndFragment). */
export function pathOnly(path: string): string {
  const query = path.indexOf("?");
  const fragment = path.indexOf("#");
  if (query < 0 && fragment < 0) return path;
  return path.slice(0, query < 0 || (fragment >= 0 && fragment < query) ? fragment : query);
}
