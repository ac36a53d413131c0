/**
 * Bits of each byte's code, and of EOS behind them (RFC 7541, appendix B), as [length, how many bytes in a row have it]. The code is canonical: shorter
 * codes come first, those of one length in the order of their bytes, and each is the one before it plus one. So the lengths say all.
 */
const runs: readonly (readonly [bits: number, count: number])[] = [
  // 0x00
  ...[13, 23, [28, 7], 24, 30, 28, 28, 30, [28, 8], 30, [28, 9]],
  // 0x20: punctuation and digits
  ...[6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, [5, 3], [6, 7], 7, 8, 15, 6, 12, 10],
  // 0x40: capitals
  ...[13, 6, [7, 22], 8, 7, 8, 13, 19, 13, 14, 6],
  // 0x60: letters
  ...[15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, [7, 5], 15, 11, 14, 13, 28],
  // 0x80
  ...[20, 22, 20, 20, [22, 3], 23, 22, [23, 5], 24, 23, 24, 24, 22, 23, 24, [23, 4], 21, 22, 23, 22, 23, 23, 24],
  // 0xa0
  ...[22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, [22, 3], 23],
  // 0xbd
  ...[22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, [26, 3], 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21],
  // 0xda
  ...[26, 26, 28, [27, 3], 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, [27, 5]],
  // 0xf9, the last of which is EOS
  ...[28, [27, 5], 26, 30],
].map((run): readonly [number, number] => (typeof run === "number" ? [run, 1] : [run[0] as number, run[1] as number]));

/** Behind the bytes: the symbol that ends a string, and must not be in one (RFC 7541, 5.2). */
export const EOS = 256;

/** Bits of each symbol's code. */
export const codeBits: Uint8Array = new Uint8Array(
  runs.flatMap(([bits, count]) => Array.from({ length: count }, () => bits)),
);

/** Each symbol's code, in the lowest bits. */
export const codes: Uint32Array = makeCodes();

function makeCodes(): Uint32Array {
  const made = new Uint32Array(codeBits.length);
  const order = [...codeBits.keys()].toSorted((a, b) => (codeBits[a] as number) - (codeBits[b] as number) || a - b);
  let code = 0;
  let bits = codeBits[order[0] as number] as number;
  for (const symbol of order) {
    const next = codeBits[symbol] as number;
    code <<= next - bits;
    bits = next;
    made[symbol] = code++;
  }
  return made;
}
