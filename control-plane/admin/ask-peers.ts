/** How the admin API asks the other control planes on the store: with its own methods, each of which is answered there for that one alone. */
import { type DescMethod, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";

import type { Peers } from "../peers/peers.ts";
import { type PageRequest, pageSizeOf, writePageToken } from "./pages.ts";

/** What the others said. */
export interface Told<Output> {
  readonly answers: readonly Output[];
  /** Who did not answer in time. */
  readonly silent: readonly string[];
}

const nameOf = ({ parent, name }: DescMethod) => `${parent.typeName}/${name}`;

/** Asks all others. @param peers undefined: there are none */
export async function askPeers<Method extends DescMethod>(
  peers: Peers | undefined,
  method: Method,
  request: MessageShape<Method["input"]>,
): Promise<Told<MessageShape<Method["output"]>>> {
  if (peers === undefined || peers.others.length === 0) return { answers: [], silent: [] };
  const { answers, silent } = await peers.ask(nameOf(method), toBinary(method.input, request));
  const output: Method["output"] = method.output;
  return { answers: answers.map((bytes) => fromBinary(output, bytes)), silent };
}

/** Answers the others' questions. @param answer gives undefined where there is nothing to say */
export function answerPeers<Method extends DescMethod>(
  peers: Peers | undefined,
  method: Method,
  answer: (
    request: MessageShape<Method["input"]>,
  ) => MessageShape<Method["output"]> | undefined | Promise<MessageShape<Method["output"]> | undefined>,
): void {
  const input: Method["input"] = method.input;
  peers?.serve(nameOf(method), async (bytes) => {
    const given = await answer(fromBinary(input, bytes));
    return given && toBinary(method.output, given);
  });
}

/** One page of each control plane's list, from the same place on. */
interface PagePart<Item> {
  readonly items: readonly Item[];
  /** Empty if nothing follows. */
  readonly nextPageToken: string;
}

/**
 * One page out of one of each control plane. What is in it is complete: whatever sorts before its end is in every part that has it.
 *
 * @param unite makes one of items with the same key
 */
export function pageOfParts<Item>(
  { pageSize }: Pick<PageRequest, "pageSize">,
  list: readonly string[],
  parts: readonly PagePart<Item>[],
  keyOf: (item: Item) => readonly string[],
  unite: (a: Item, b: Item) => Item,
): { readonly items: readonly Item[]; readonly nextPageToken: string } {
  const byKey = new Map<string, Item>();
  for (const item of parts.flatMap(({ items }) => items)) {
    const key = JSON.stringify(keyOf(item));
    const before = byKey.get(key);
    byKey.set(key, before === undefined ? item : unite(before, item));
  }
  const sorted = [...byKey.values()].sort((a, b) => compareKeys(keyOf(a), keyOf(b)));
  const items = sorted.slice(0, pageSizeOf(pageSize));
  const last = items.at(-1);
  const isMore = items.length < sorted.length || parts.some(({ nextPageToken }) => nextPageToken !== "");
  return { items, nextPageToken: isMore && last !== undefined ? writePageToken(list, keyOf(last)) : "" };
}

function compareKeys(a: readonly string[], b: readonly string[]): number {
  const at = a.findIndex((part, index) => part !== b[index]);
  if (at < 0) return 0;
  return (a[at] ?? "") < (b[at] ?? "") ? -1 : 1;
}
