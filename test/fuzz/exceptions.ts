/** A difference from llhttp that is meant to be. */
export interface FuzzException {
  /** What leads to it, in the bytes that are sent (latin1). */
  readonly applies: RegExp;
  /** What the difference is, as compare.ts words it. */
  readonly difference: RegExp;
  readonly why: string;
}

/** llhttp refuses the request, or the rest of its body; what it read until then is the same. */
const REFUSED = /: refused$/;

/** Where ours accepts a request that llhttp (Node 24, strict) reads in another way, or not at all. */
export const fuzzExceptions: readonly FuzzException[] = [
  {
    applies: /chunked[\s\S]*\r\n0*[^\r\n]*\r\n([^\r\n]+\r\n)*(content-length|transfer-encoding):/i,
    difference: REFUSED,
    why: "llhttp takes a framing field in the trailer section for one of the head, and refuses it; ours drops it unread (RFC 9110, 6.5.1)",
  },
  {
    applies: /\n[0-9a-f]+[ \t]*;/i,
    difference: REFUSED,
    why: "llhttp checks the grammar of chunk extensions; ours reads over them up to the CRLF, as Envoy does, and sends none on",
  },
  {
    applies: /transfer-encoding:\s*chunked *\t/i,
    difference: REFUSED,
    why: "llhttp doesn't take a tab for white space behind a value, which it is (RFC 9110, 5.6.3); what ours sends on has none",
  },
  {
    applies: /upgrade:[^\r\n]*h2c/i,
    difference: /only ours reads it/,
    why: "ours ignores an upgrade to h2c, which RFC 9113 dropped; llhttp waits for what was upgraded to behind it",
  },
  {
    applies: /upgrade:[^]*\n[0-9a-f]+[ \t]*;/i,
    difference: /body "[^]*", ""$/,
    why: "as above, in a request that asks for an upgrade: llhttp stops without a word. Ours forbids an upgrade with a body, and closes",
  },
];
