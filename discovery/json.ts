import { DiscoveryError } from "./source.ts";
import { turn } from "./turns.ts";

/** Parsed in one go: about 2 ms. */
const PIECE_BYTES = 256 * 1024;

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/**
 * Parses JSON as registries send it, in its turn: answers to a hundred questions may come at once. A long list, by itself or as a member of
 * an object (a Kubernetes list), is parsed some items at a time, and others have their turn between.
 * @throws DiscoveryError "bad_answer" if it is no JSON
 */
export async function parseJson(bytes: Buffer): Promise<unknown> {
  await turn();
  try {
    if (bytes.length <= PIECE_BYTES) return JSON.parse(bytes.toString("utf8")) as unknown;
    return await parsePieces(bytes);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new DiscoveryError("bad_answer", `the answer is not JSON: ${words}`);
  }
}

/**
 * Takes the items out of the outermost list that holds most of the text, parses them in groups, and puts them back in place of the group's
 * first. Whether what is between is JSON, JSON.parse decides.
 */
async function parsePieces(bytes: Buffer): Promise<unknown> {
  const list = await findList(bytes);
  if (list === undefined) return JSON.parse(bytes.toString("utf8")) as unknown;
  const items: unknown[] = [];
  let from = list.begin;
  for (const to of list.cuts) {
    await turn();
    items.push(...(JSON.parse(`[${bytes.toString("utf8", from, to)}]`) as unknown[]));
    from = to + 1;
  }
  // The text around the list, and the list's place in it.
  const around = `${bytes.toString("utf8", 0, list.begin)}${bytes.toString("utf8", list.end)}`;
  const rest = JSON.parse(around) as unknown;
  if (Array.isArray(rest)) return items;
  return { ...(rest as object), [list.member]: items };
}

interface FoundList {
  /** The name that it is a member by; none if it is the whole text. */
  readonly member: string;
  /** Where its items are, without the brackets. */
  readonly begin: number;
  readonly end: number;
  /** The ends of groups of items; the last is `end`. */
  readonly cuts: readonly number[];
}

/** Finds the first long list that is the whole text or a member of the outermost object. */
async function findList(bytes: Buffer): Promise<FoundList | undefined> {
  let depth = 0;
  let begin = -1;
  let base = 0;
  let member = "";
  let name = "";
  let cuts: number[] = [];
  let cut = 0;
  for (let at = 0, looked = 0; at < bytes.length; at++) {
    if (at - looked > PIECE_BYTES) {
      await turn();
      looked = at;
    }
    switch (bytes[at]) {
      case QUOTE: {
        const end = endOfText(bytes, at);
        if (depth === 1 && begin === -1) name = bytes.toString("utf8", at, end + 1);
        at = end;
        break;
      }
      case OPEN_ARRAY:
        if (begin === -1 && depth <= 1) {
          begin = at + 1;
          base = depth + 1;
          member = depth === 0 ? "" : (JSON.parse(name) as string);
          cuts = [];
          cut = begin;
        }
        depth++;
        break;
      case CLOSE_ARRAY:
        depth--;
        if (begin !== -1 && depth === base - 1) {
          if (at - begin > PIECE_BYTES) return { member, begin, end: at, cuts: [...cuts, at] };
          begin = -1;
        }
        break;
      case OPEN_OBJECT:
        depth++;
        break;
      case CLOSE_OBJECT:
        depth--;
        break;
      case COMMA:
        if (begin !== -1 && depth === base && at - cut > PIECE_BYTES / 4) {
          cuts.push(at);
          cut = at;
        }
        break;
    }
  }
  return undefined;
}

/** Where the text that begins with a quote ends; an unfinished one ends with the bytes. */
function endOfText(bytes: Buffer, begin: number): number {
  for (let at = bytes.indexOf(QUOTE, begin + 1); at !== -1; at = bytes.indexOf(QUOTE, at + 1)) {
    let escapes = 0;
    while (bytes[at - 1 - escapes] === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return at;
  }
  return bytes.length;
}
