import type { DescEnum, DescEnumValue } from "@bufbuild/protobuf";

import { shortName } from "#proto/plain.ts";

/** The values of an enum that may be written: all but the zero value, which stands for "not set". */
export const writableValues = (desc: DescEnum): readonly DescEnumValue[] =>
  desc.values.filter((value) => value.number !== 0);

/** The value that this text names, short or in full. */
export const enumValue = (desc: DescEnum, text: string): DescEnumValue | undefined =>
  writableValues(desc).find((value) => shortName(value) === text || value.name === text);

/** The candidate that a misspelt word was probably meant to be, or undefined if none comes close. */
export function closest(word: string, candidates: Iterable<string>): string | undefined {
  const bare = (text: string) => text.replace(/[_-]/g, "").toLowerCase();
  const target = bare(word.slice(0, WORD_LENGTH_MAX));
  let best: string | undefined;
  // A third of the letters may be wrong, and at least one in a word of three.
  let bestDistance = Math.max(1, Math.floor(target.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(target, bare(candidate), bestDistance);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

const WORD_LENGTH_MAX = 64;

/** Levenshtein's distance, or `limit` once it is certain to be no less. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let previous = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? limit;
}

/** "a, b or c". */
export function alternatives(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
