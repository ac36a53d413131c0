import { TOKEN, VALUE } from "../http1/chars.ts";

/** The name of a field is none: RFC 9113, 8.2.1, which has no capitals. */
export const BROKEN_NAME = 1;
/** The value of a field is none. */
export const BROKEN_VALUE = 2;

const SP = 0x20;
const HTAB = 0x09;
const COLON = 0x3a;

/** Whether bytes[from, to) is the name of a field, or of a pseudo-field, whichever that may be. */
export function isName(bytes: Uint8Array, from: number, to: number): boolean {
  const begin = bytes[from] === COLON ? from + 1 : from;
  if (begin >= to) return false;
  for (let at = begin; at < to; at++) if (TOKEN[bytes[at] as number] !== 1) return false;
  return true;
}

/** Whether bytes[from, to) is the value of a field: no control character but HTAB, no white space around it. */
export function isValue(bytes: Uint8Array, from: number, to: number): boolean {
  if (from === to) return true;
  const first = bytes[from] as number;
  const last = bytes[to - 1] as number;
  if (first === SP || first === HTAB || last === SP || last === HTAB) return false;
  for (let at = from; at < to; at++) if (VALUE[bytes[at] as number] !== 1) return false;
  return true;
}
