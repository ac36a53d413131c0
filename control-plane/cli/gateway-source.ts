import { kinds } from "./kinds.ts";
import { type FileProblem, type Position, positionOf, valueAt, type YamlNode } from "./yaml/tree.ts";

/** The files that a gateway was read from: finds the place of any of its values again. */
export class GatewaySource {
  /** The elements of each list of the gateway ("services"), in the order in which the message has them. */
  readonly #elements: ReadonlyMap<string, readonly YamlNode[]>;

  constructor(elements: ReadonlyMap<string, readonly YamlNode[]>) {
    this.#elements = elements;
  }

  /**
   * Where the value at a path of the Gateway message begins ("services[2].routes[0].paths[1]"). Where the path leads to nothing that is
   * written (a required field that is missing), the nearest value around it. Undefined for a path into no element.
   */
  locate(field: string): Position | undefined {
    return this.#walk(field).position;
  }

  /** A problem that the server found, at its place in the files. */
  toFileProblem({ field, message }: { readonly field: string; readonly message: string }): FileProblem {
    const { position, words } = this.#walk(field);
    // The server knows other objects by their index, which nobody counts across files.
    const text = message.replace(objectInMessage, (other) => this.#inWords(other));
    return { position, field: words, message: text };
  }

  #inWords(field: string): string {
    const { position, words } = this.#walk(field);
    return position === undefined ? words : `${words} (${position.file}:${position.line})`;
  }

  /** The place of an object, by its list and names: ("services", {name: "orders", gatewayGroup: "default"}). */
  find(list: string, names: Readonly<Record<string, string>>): Position | undefined {
    const found = this.#object(list, names);
    return found && positionOf(found);
  }

  /** The place of a part of an object: ("services", {...}, "routes[pay]"); of the object where the part isn't written. */
  findPart(list: string, names: Readonly<Record<string, string>>, field: string): Position | undefined {
    const [word = "", name] = segments(field);
    const parts = valueAt(this.#object(list, names), String(word));
    const items = parts?.kind === "list" ? parts.items : [];
    const part = items.find((item) => textAt(item, "name") === name);
    return part === undefined ? this.find(list, names) : positionOf(part);
  }

  #object(list: string, names: Readonly<Record<string, string>>): YamlNode | undefined {
    const isNamed = (node: YamlNode) =>
      Object.entries(names).every(([key, name]) => (textAt(node, key) || defaults[key]) === name);
    return this.#elements.get(list)?.find(isNamed);
  }

  /** Follows a path as far as it goes; `words` is the path with names for indexes. */
  #walk(field: string): { readonly position: Position | undefined; readonly words: string } {
    const [first = "", ...rest] = segments(field.replace(/^gateway\./, ""));
    const list = String(first);
    let words = list;
    let node: YamlNode | undefined;
    let last: Parameters<typeof positionOf>[0] | undefined;
    let inElements = true;
    for (const segment of rest) {
      let next: YamlNode | undefined;
      if (typeof segment === "number") {
        if (inElements) next = this.#elements.get(list)?.[segment];
        else if (node?.kind === "list") next = node.items[segment];
        words += `[${(next && textAt(next, "name")) || segment}]`;
      } else {
        next = valueAt(node, segment);
        words += node !== undefined && isWord(segment) ? `.${segment}` : `[${segment}]`;
      }
      inElements = false;
      node = next;
      if (next !== undefined) last = next;
    }
    return { position: last && positionOf(last), words };
  }
}

/** What an object's name fields stand for where they are not written. */
const defaults: Readonly<Record<string, string>> = { gatewayGroup: "default" };

/** An object as the server names it in a message. */
const objectInMessage = new RegExp(`\\b(?:${kinds.map(({ list }) => list).join("|")})\\[\\d+\\]`, "g");

const isWord = (text: string) => /^[A-Za-z_]\w*$/.test(text);

function textAt(node: YamlNode, key: string): string {
  const value = valueAt(node, key);
  return value?.kind === "scalar" && typeof value.value === "string" ? value.value : "";
}

/** `services[2].labels["a.b"].path_prefix` -> "services", 2, "labels", "a.b", "pathPrefix". */
function segments(path: string): (string | number)[] {
  const found: (string | number)[] = [];
  for (const [, word, index, quoted, bare] of path.matchAll(/([^.[\]]+)|\[(?:(\d+)|("(?:[^"\\]|\\.)*")|([^\]]*))\]/g)) {
    if (index !== undefined) found.push(Number(index));
    else if (quoted !== undefined) found.push(unquote(quoted));
    else if (bare !== undefined) found.push(bare);
    else if (word !== undefined) found.push(word.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()));
  }
  return found;
}

function unquote(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text.slice(1, -1);
  }
}
