import { codeBits, codes } from "./huffman-code.ts";

/** How many bytes the text takes in Huffman's code. */
export function huffmanBytes(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += codeBits[text.charCodeAt(i) & 0xff] as number;
  return (bits + 7) >>> 3;
}

/** Writes latin1 text in Huffman's code, padded with ones (RFC 7541, 5.2); returns the end. */
export function writeHuffman(text: string, into: Uint8Array, start: number): number {
  let at = start;
  // Bits that are no whole byte yet: never more than seven before a code, and codes have 30 at most.
  let open = 0;
  let openBits = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff;
    let code = codes[symbol] as number;
    let bits = codeBits[symbol] as number;
    if (bits > 24) {
      // In two steps, since 37 bits would not fit.
      open = (open << (bits - 16)) | (code >>> 16);
      openBits += bits - 16;
      for (; openBits >= 8; openBits -= 8) into[at++] = open >>> (openBits - 8);
      code &= 0xffff;
      bits = 16;
    }
    open = (open << bits) | code;
    openBits += bits;
    for (; openBits >= 8; openBits -= 8) into[at++] = open >>> (openBits - 8);
  }
  if (openBits > 0) into[at++] = (open << (8 - openBits)) | (0xff >>> openBits);
  return at;
}
