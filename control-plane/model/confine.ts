/**
 * Regular expressions for a value inside a longer text. Operators' patterns are about a value alone (a path without
 * its query, one cookie of many), data planes see the text around it, so a pattern must be kept from running on into
 * that.
 */
import { type Parsed, quoted } from "./problem.ts";
import { matchesWhole, patternProblem } from "./regex.ts";

/** One piece of RE2's syntax: an escape, a class, the beginning of a group, or one character. */
const PIECE = new RegExp(
  [
    /\\Q.*?(?:\\E|$)/,
    /\\[pP](?:\{\^?\w+\}|.)/,
    /\\x(?:\{[0-9A-Fa-f]+\}|[0-9A-Fa-f]{2})/,
    /\\(?:[0-7]{1,3}|.)/,
    /\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]/,
    /\(\?P?<\w+>/,
    /\(\?[a-zA-Z-]*[:)]/,
    /./,
  ]
    .map(({ source }) => source)
    .join("|"),
  "gsu",
);

/** Escapes that take everything but what they name, as classes that more can be added to. */
const wideEscapes: Readonly<Record<string, string>> = {
  "\\D": "[^0-9",
  "\\W": "[^0-9A-Za-z_",
  "\\S": "[^\\t\\n\\f\\r ",
};

/**
 * A pattern for all texts without the characters of `outside` in which `pattern` matches somewhere; it matches them
 * as a whole, and nothing else. `outside` is punctuation. Refused are patterns whose meaning would depend on what
 * stands around the value.
 */
export function confined(pattern: string, outside: string): Parsed<string> {
  const [, flags = ""] = /^\(\?([isU]+)\)/.exec(pattern) ?? [];
  const rest = flags === "" ? pattern : pattern.slice(flags.length + 3);
  const alternatives = [{ body: "", open: { start: true, end: true } }];
  let depth = 0;
  const pieces = rest.match(PIECE) ?? [];
  for (const [at, piece] of pieces.entries()) {
    const current = alternatives.at(-1);
    if (current === undefined) continue;
    const atEnd = depth === 0 && (pieces[at + 1] === undefined || pieces[at + 1] === "|");
    const atStart = depth === 0 && (at === 0 || pieces[at - 1] === "|");
    if (piece === "|" && depth === 0) {
      alternatives.push({ body: "", open: { start: true, end: true } });
    } else if (piece === "^" && atStart) {
      current.open.start = false;
    } else if (piece === "$" && atEnd) {
      current.open.end = false;
    } else {
      depth += piece === "(" || /^\(\?.*[^)]$/s.test(piece) ? 1 : piece === ")" ? -1 : 0;
      const kept = keepInside(piece, outside);
      if (!kept.ok) return kept;
      current.body += kept.value;
    }
  }
  const any = `[^${classText(outside)}]*`;
  const joined = alternatives
    .map(({ body, open }) => `${open.start ? any : ""}${body}${open.end ? any : ""}`)
    .join("|");
  const value = `(?${flags}:${joined})`;
  const message = patternProblem(value);
  return message === undefined ? { ok: true, value } : refuse(`${quoted(pattern)} can't be kept to the value alone`);
}

/** A piece so that it takes no character of `outside`. */
function keepInside(piece: string, outside: string): Parsed<string> {
  if (piece === "^" || piece === "$" || piece === "\\A" || piece === "\\z") {
    return refuse(
      `${quoted(piece)} may stand only at the two ends of the pattern or of its alternatives, as "^" and "$"`,
    );
  }
  if (/^\(\?[a-zA-Z]*m/.test(piece)) return refuse("flag m has no use here: the value is one line");
  if (piece === ".") return { ok: true, value: `[^${classText(outside)}]` };
  // Groups, quantifiers and boundaries take no character. A boundary sees "=" or the end beside the value, and both
  // are no word.
  if (piece.startsWith("(") || /^[)|*+?{}]$/.test(piece) || /^\\[bB]$/.test(piece)) return { ok: true, value: piece };
  if (piece.startsWith("\\Q")) {
    const literal = piece.slice(2).replace(/\\E$/, "");
    const found = outside.split("").find((character) => literal.includes(character));
    return found === undefined ? { ok: true, value: piece } : refuse(`the value never holds ${quoted(found)}`);
  }
  const wide = wideEscapes[piece] ?? (piece.startsWith("[^") ? piece.slice(0, -1) : undefined);
  if (wide !== undefined) return { ok: true, value: `${wide}${classText(outside)}]` };
  // Also when it is broken: the whole pattern was found readable before.
  const found = patternProblem(piece)
    ? undefined
    : outside.split("").find((character) => matchesWhole(piece, character));
  return found === undefined
    ? { ok: true, value: piece }
    : refuse(`${quoted(piece)} takes ${quoted(found)}, which the value never holds; leave it out`);
}

/** Characters as they stand in a class. */
const classText = (characters: string) => characters.replaceAll(/[\\\]^-]/g, "\\$&");

const refuse = (message: string): Parsed<never> => ({
  ok: false,
  problems: [{ field: "", reason: "invalid_vars", message }],
});
