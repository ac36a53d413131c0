import type { PathShape, StringTest } from "./regex.ts";
import { SEGMENT } from "./regex.ts";

/** Where in the index an entry stands: the text that paths begin with, and what may follow. */
export interface PathPattern {
  readonly parts: PathShape["parts"];
  readonly tail: PathShape["tail"];
  /** For patterns that the index cannot express: the whole path must also pass this. */
  readonly test?: StringTest;
}

interface Entry<T> {
  readonly position: number;
  readonly value: T;
  readonly tail: PathShape["tail"];
  readonly test: StringTest | undefined;
}

class Node<T> {
  label: string;
  /** By the first character of their label, none of which begin alike. Undefined: none; an empty map would be most of a node. */
  children: Map<number, Node<T>> | undefined;
  /** What follows when `[^/]+` was taken from here. */
  segment: Node<T> | undefined;
  /** Entries whose pattern ends here; in order of position. */
  entries: Entry<T>[] = [];
  /** The lowest position here and below: a branch that cannot win is not walked. */
  lowest = Number.POSITIVE_INFINITY;

  constructor(label: string) {
    this.label = label;
  }
}

/**
 * Finds the first of many path patterns that takes a request, without trying them one after the other: a radix tree over the patterns'
 * text, walked along the path. The list's order decides, never the pattern's length (Envoy tries routes in order), so the walk
 * visits every node that the path reaches and keeps the lowest position. A node is reached in one way only, so the walk is bounded by the
 * patterns that share the path's beginning. Filled once, then read; `find` allocates nothing.
 */
export class PathIndex<T> {
  readonly #root = new Node<T>("");

  // The walk's state, here rather than in a new object for each request. `find` runs to its end without giving way.
  #path = "";
  #accept: (value: T) => boolean = () => false;
  #best: Entry<T> | undefined;

  /** Adds a pattern. Positions must not fall from one call to the next. */
  add(pattern: PathPattern, position: number, value: T): void {
    let node = this.#root;
    node.lowest = Math.min(node.lowest, position);
    for (const part of pattern.parts) {
      node = part === SEGMENT ? segmentOf(node, position) : descend(node, part, position);
    }
    node.entries.push({ position, value, tail: pattern.tail, test: pattern.test });
  }

  /** The entry of the lowest position whose pattern takes `path` and whose value `accept` takes. */
  find(path: string, accept: (value: T) => boolean, below: number): { position: number; value: T } | undefined {
    this.#path = path;
    this.#accept = accept;
    this.#best = undefined;
    this.#walk(this.#root, 0, below);
    const found = this.#best;
    this.#best = undefined;
    return found;
  }

  /** Walks on from a node whose text is path[0, at); returns the lowest position found so far. */
  #walk(node: Node<T>, at: number, limit: number): number {
    const path = this.#path;
    let below = limit;
    for (const entry of node.entries) {
      if (entry.position >= below) break;
      if (!tailTakes(entry.tail, path, at)) continue;
      if (entry.test !== undefined && !entry.test(path)) continue;
      if (!this.#accept(entry.value)) continue;
      this.#best = entry;
      below = entry.position;
      break;
    }
    if (at === path.length) return below;
    const child = node.children?.get(path.charCodeAt(at));
    if (child !== undefined && child.lowest < below && continues(path, at, child.label)) {
      below = this.#walk(child, at + child.label.length, below);
    }
    if (node.segment !== undefined && node.segment.lowest < below) {
      const slash = path.indexOf("/", at);
      const end = slash < 0 ? path.length : slash;
      if (end > at) below = this.#walk(node.segment, end, below);
    }
    return below;
  }
}

/** Longer labels are compared at once. */
const LOOP_CHARS_MAX = 3;

/** As path.startsWith(label, at), which compares character by character in compiled code: costly where a path is a part of a longer string. */
function continues(path: string, at: number, label: string): boolean {
  if (at + label.length > path.length) return false;
  if (label.length > LOOP_CHARS_MAX) return path.slice(at, at + label.length) === label;
  // The first character was what led to this label.
  for (let i = 1; i < label.length; i++) {
    if (path.charCodeAt(at + i) !== label.charCodeAt(i)) return false;
  }
  return true;
}

function tailTakes(tail: PathShape["tail"], path: string, at: number): boolean {
  switch (tail) {
    case "nothing":
      return at === path.length;
    case "anything":
      return true;
    case "something":
      return at < path.length;
    case "segments":
      return at === path.length || path.charCodeAt(at) === 47 /* "/" */;
  }
}

function segmentOf<T>(node: Node<T>, position: number): Node<T> {
  node.segment ??= new Node("");
  node.segment.lowest = Math.min(node.segment.lowest, position);
  return node.segment;
}

/** The node that is reached from `from` by `text`; made, and others split, where there is none. */
function descend<T>(from: Node<T>, text: string, position: number): Node<T> {
  let node = from;
  let rest = text;
  while (rest !== "") {
    const children: Map<number, Node<T>> = (node.children ??= new Map());
    let child = children.get(rest.charCodeAt(0));
    if (child === undefined) {
      child = new Node(rest);
      children.set(rest.charCodeAt(0), child);
    } else {
      const common = commonLength(child.label, rest);
      if (common < child.label.length) {
        // Part the child: the common beginning becomes a node between it and its parent.
        const between = new Node<T>(child.label.slice(0, common));
        between.lowest = child.lowest;
        child.label = child.label.slice(common);
        between.children = new Map([[child.label.charCodeAt(0), child]]);
        children.set(between.label.charCodeAt(0), between);
        child = between;
      }
    }
    child.lowest = Math.min(child.lowest, position);
    rest = rest.slice(child.label.length);
    node = child;
  }
  return node;
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && length < b.length && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}
