import { codeBits, codes, EOS } from "./huffman-code.ts";

/**
 * The decoder as a machine that takes four bits at a time. No code is shorter than five bits, so a step ends one code at most. A step is one number: the
 * state that it leads to, the byte that it ends, and what is so of it.
 */
const STATE_BITS = 0xff;
const SYMBOL_SHIFT = 8;
const ENDS_SYMBOL = 1 << 16;
/** The text may end here: what is open is at most seven bits of the beginning of EOS, all of them ones (RFC 7541, 5.2). */
const MAY_END = 1 << 17;
const FAILS = 1 << 18;

/** A node of the code's tree: its children, or the symbol that it stands for. */
interface Node {
  readonly id: number;
  readonly mayEnd: boolean;
  readonly children: [Node | number | undefined, Node | number | undefined];
}

const steps: Int32Array = makeSteps();

function makeSteps(): Int32Array {
  const nodes = makeTree();
  const made = new Int32Array(nodes.length * 16);
  for (const node of nodes) {
    for (let nibble = 0; nibble < 16; nibble++) made[node.id * 16 + nibble] = stepOf(nodes, node, nibble);
  }
  return made;
}

/** All inner nodes, by id; there are 256, one less than symbols. */
function makeTree(): readonly Node[] {
  const root: Node = { id: 0, mayEnd: true, children: [undefined, undefined] };
  const nodes = [root];
  for (const [symbol, bits] of codeBits.entries()) {
    let node = root;
    for (let bit = bits - 1; bit >= 0; bit--) {
      const side = (((codes[symbol] as number) >>> bit) & 1) as 0 | 1;
      if (bit === 0) {
        node.children[side] = symbol;
        break;
      }
      let next = node.children[side] as Node | undefined;
      if (next === undefined) {
        const depth = bits - bit;
        const isOnes = (codes[symbol] as number) >>> bit === (1 << depth) - 1;
        next = { id: nodes.length, mayEnd: isOnes && depth <= 7, children: [undefined, undefined] };
        nodes.push(next);
        node.children[side] = next;
      }
      node = next;
    }
  }
  return nodes;
}

function stepOf(nodes: readonly Node[], from: Node, nibble: number): number {
  let node = from;
  let step = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const next = node.children[((nibble >>> bit) & 1) as 0 | 1];
    if (next === EOS || next === undefined) return FAILS;
    if (typeof next === "number") {
      step = ENDS_SYMBOL | (next << SYMBOL_SHIFT);
      node = nodes[0] as Node;
    } else node = next;
  }
  return step | node.id | (node.mayEnd ? MAY_END : 0);
}

/** No code is shorter than five bits. */
export const decodedBytesMax = (encodedBytes: number): number => Math.ceil((encodedBytes * 8) / 5);

/**
 * Decodes bytes[from, to) to the beginning of `into`, which has room for {@link decodedBytesMax}. Returns how many bytes there are, or -1: EOS is among them, or
 * the padding is none (RFC 7541, 5.2).
 */
export function decodeHuffman(bytes: Uint8Array, from: number, to: number, into: Uint8Array): number {
  let step = MAY_END;
  let n = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at] as number;
    step = steps[((step & STATE_BITS) << 4) | (byte >>> 4)] as number;
    if (step >= ENDS_SYMBOL) {
      if (step >= FAILS) return -1;
      into[n] = step >>> SYMBOL_SHIFT;
      n += (step >>> 16) & 1;
    }
    step = steps[((step & STATE_BITS) << 4) | (byte & 15)] as number;
    if (step >= ENDS_SYMBOL) {
      if (step >= FAILS) return -1;
      into[n] = step >>> SYMBOL_SHIFT;
      n += (step >>> 16) & 1;
    }
  }
  return step < MAY_END ? -1 : n;
}
