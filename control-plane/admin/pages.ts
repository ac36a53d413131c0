import { ConnectError } from "@connectrpc/connect";

import { invalid } from "./errors.ts";

const PAGE_SIZE_DEFAULT = 100;

/** One page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

/** What every list request has. */
export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/**
 * Cuts a page off a sequence. The token of the next page is the key of this page's last item, so that pages stay true while objects
 * come and go between them.
 * @param list names the list with its filters; a token is good only for the same list.
 * @param start gives the items after a key, or all.
 */
export function pageOf<Item>(
  { pageSize, pageToken }: PageRequest,
  list: readonly string[],
  start: (after: readonly string[] | undefined) => Iterable<Item>,
  keyOf: (item: Item) => readonly string[],
): Page<Item> {
  const size = pageSizeOf(pageSize);
  const items: Item[] = [];
  for (const item of start(readPageToken(pageToken, list))) {
    const last = items.at(-1);
    if (items.length === size && last !== undefined) {
      return { items, nextPageToken: writePageToken(list, keyOf(last)) };
    }
    items.push(item);
  }
  return { items, nextPageToken: "" };
}

/** How many items a page has. */
export const pageSizeOf = (requested: number) => (requested === 0 ? PAGE_SIZE_DEFAULT : requested);

/** Makes the token of the page after `key`. Callers must treat it as opaque. */
export const writePageToken = (list: readonly string[], key: readonly string[]) =>
  Buffer.from(JSON.stringify([...list, ...key])).toString("base64url");

/** The key in a page token; undefined for the first page. @throws ConnectError INVALID_ARGUMENT for a token that isn't this list's */
export function readPageToken(token: string, list: readonly string[]): readonly string[] | undefined {
  if (token === "") return undefined;
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (!Array.isArray(parts) || !parts.every((part) => typeof part === "string")) throw foreignToken();
    if (list.some((part, at) => parts[at] !== part)) throw foreignToken();
    return parts.slice(list.length);
  } catch (error) {
    throw error instanceof ConnectError ? error : foreignToken();
  }
}

/** The revision in the token of a list of transactions; undefined for the first page. @throws ConnectError INVALID_ARGUMENT, as readPageToken */
export function readRevisionToken(token: string, list: readonly string[]): bigint | undefined {
  const key = readPageToken(token, list);
  if (key === undefined) return undefined;
  const [revision = ""] = key;
  // What is made up may be anything; 18 digits fit the database's numbers.
  if (!/^\d{1,18}$/.test(revision)) throw foreignToken();
  return BigInt(revision);
}

const foreignToken = () =>
  invalid([
    {
      field: "pageToken",
      reason: "page_token",
      message: "is no page token of this list with these filters; use nextPageToken of the page before, or none",
    },
  ]);
