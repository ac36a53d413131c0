import type { Operator } from "./operators.ts";

const pad = (value: number, digits: number) => String(value).padStart(digits, "0");

// Envoy's subset of strftime, and its own fractions of seconds. Our clock has no more than milliseconds.
const specifiers: Readonly<Record<string, (time: Date) => string>> = {
  "%Y": (time) => pad(time.getUTCFullYear(), 4),
  "%m": (time) => pad(time.getUTCMonth() + 1, 2),
  "%d": (time) => pad(time.getUTCDate(), 2),
  "%H": (time) => pad(time.getUTCHours(), 2),
  "%M": (time) => pad(time.getUTCMinutes(), 2),
  "%S": (time) => pad(time.getUTCSeconds(), 2),
  "%E3S": (time) => `${pad(time.getUTCSeconds(), 2)}.${pad(time.getUTCMilliseconds(), 3)}`,
  "%s": (time) => String(Math.floor(time.getTime() / 1000)),
  "%3f": (time) => pad(time.getUTCMilliseconds(), 3),
  "%6f": (time) => `${pad(time.getUTCMilliseconds(), 3)}000`,
  "%9f": (time) => `${pad(time.getUTCMilliseconds(), 3)}000000`,
  "%f": (time) => `${pad(time.getUTCMilliseconds(), 3)}000000`,
  "%F": (time) => time.toISOString().slice(0, 10),
  "%T": (time) => time.toISOString().slice(11, 19),
  "%z": () => "+0000",
  "%Z": () => "UTC",
  "%%": () => "%",
};

/**
 * START_TIME(format): UTC; without a format 2026-11-21T02:03:04.567Z. The text is made once for all requests of one millisecond. What is
 * wrong with the format is returned as text.
 */
export function compileStartTime(format: string): Operator | string {
  let text: (time: Date) => string = (time) => time.toISOString();
  if (format !== "") {
    const pieces = format.match(/%E3S|%[369]f|%.|[^%]+|%$/g) ?? [];
    for (const piece of pieces) {
      if (piece.startsWith("%") && specifiers[piece] === undefined) return `START_TIME: ${piece} is not supported`;
    }
    text = (time) => pieces.map((piece) => specifiers[piece]?.(time) ?? piece).join("");
  }
  let lastMs = Number.NaN;
  let last = "";
  return ({ startMs }) => {
    const ms = Math.floor(startMs);
    if (ms !== lastMs) {
      lastMs = ms;
      last = text(new Date(ms));
    }
    return last;
  };
}
