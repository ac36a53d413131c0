import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Scalar,
  visit,
  type YAMLMap,
} from "yaml";

import {
  type FileProblem,
  type ListNode,
  type MapEntry,
  type Position,
  positionOf,
  type SourceFile,
  type YamlNode,
} from "./tree.ts";

/** The values of a file's documents, empty ones left out, and what is wrong with them. */
export interface Parsed {
  /** Of documents that could be read at all; a duplicate key does not prevent that. */
  readonly roots: readonly YamlNode[];
  /** How many values the file has, each alias not counted. */
  readonly nodes: number;
  readonly problems: readonly FileProblem[];
}

const PROBLEMS_MAX = 100;

/**
 * Parses YAML 1.2 (and so JSON), one document or several. Duplicate keys, unknown tags and aliases inside their own anchor are problems.
 * Merge keys (`<<`) work as in YAML 1.1: a key that is written out wins.
 */
export function parseYaml(path: string, text: string): Parsed {
  const lines = new LineCounter();
  const file: SourceFile = { path, lines };
  try {
    const documents = parseAllDocuments(text, {
      lineCounter: lines,
      prettyErrors: false,
      merge: false,
      uniqueKeys: true,
    });
    const problems: FileProblem[] = [];
    const roots: YamlNode[] = [];
    let nodes = 0;
    for (const document of documents) {
      for (const { code, pos, message } of [...document.errors, ...document.warnings]) {
        problems.push({ position: positionOf({ file, offset: pos[0] }), message: inWords(code, message) });
      }
      if (document.errors.some(({ code }) => code !== "DUPLICATE_KEY")) continue;
      const builder = new Builder(document, file, problems);
      const root = document.contents === null ? undefined : builder.build(document.contents);
      // A document of comments only is a null scalar.
      if (root !== undefined && !(root.kind === "scalar" && root.value === null)) roots.push(root);
      nodes += builder.nodes;
    }
    return { roots, nodes, problems: problems.slice(0, PROBLEMS_MAX) };
  } catch (error) {
    // The parser recurses.
    if (!(error instanceof RangeError)) throw error;
    return { roots: [], nodes: 0, problems: [{ position: startOf(path), message: TOO_DEEP }] };
  }
}

function inWords(code: string, message: string): string {
  if (code === "DUPLICATE_KEY") return "is a key that this mapping has already";
  // The parser recurses, and tells of its own overflow as of an error in the text.
  if (message.startsWith("Maximum call stack size")) return TOO_DEEP;
  return firstLine(message);
}

const TOO_DEEP = "is nested too deeply";

/** The first character of a file. */
export const startOf = (file: string): Position => ({ file, line: 1, column: 1 });

const firstLine = (message: string) => message.split("\n", 1)[0] ?? message;

/** Whether nothing is written behind a key; the library places that nothing at the next key. */
const isEmpty = (value: Node | null): value is null =>
  value === null || (isScalar(value) && value.value === null && (value.source ?? "") === "");

/** Turns the library's nodes into ours: aliases resolved, merges done. */
class Builder {
  nodes = 0;
  readonly #document: Document;
  readonly #file: SourceFile;
  readonly #problems: FileProblem[];
  readonly #built = new Map<Node, YamlNode>();
  /** Nodes that are being built: an alias to one of them would be a value inside itself. */
  readonly #open = new Set<Node>();
  /** Anchored nodes by name, in the order of the document. */
  #anchors: Map<string, Node[]> | undefined;

  constructor(document: Document, file: SourceFile, problems: FileProblem[]) {
    this.#document = document;
    this.#file = file;
    this.#problems = problems;
  }

  build(node: Node): YamlNode {
    if (isAlias(node)) return this.#alias(node);
    const done = this.#built.get(node);
    if (done !== undefined) return done;
    this.nodes += 1;
    this.#open.add(node);
    const built = this.#collection(node);
    this.#open.delete(node);
    this.#built.set(node, built);
    return built;
  }

  #collection(node: Node): YamlNode {
    const place = { file: this.#file, offset: node.range?.[0] ?? 0 };
    if (isSeq<Node>(node)) return { kind: "list", ...place, items: node.items.map((item) => this.build(item)) };
    if (isMap<Node, Node | null>(node)) return { kind: "map", ...place, entries: this.#entries(node) };
    const { value, source } = node as Scalar;
    if (typeof value === "object" && value !== null) {
      this.#problem(node, "is a kind of value that gateway files don't have");
      return { kind: "scalar", ...place, value: null, text: "" };
    }
    return {
      kind: "scalar",
      ...place,
      value: value as string | number | boolean | null,
      text: source ?? String(value),
    };
  }

  #entries(map: YAMLMap<Node, Node | null>): Map<string, MapEntry> {
    const entries = new Map<string, MapEntry>();
    const merged: YamlNode[] = [];
    for (const { key, value } of map.items) {
      const offset = key.range?.[0] ?? 0;
      if (!isScalar(key)) {
        this.#problem(key, "a key must be a plain word");
        continue;
      }
      const built: YamlNode = isEmpty(value)
        ? { kind: "scalar", file: this.#file, offset, value: null, text: "" }
        : this.build(value);
      if (key.value === "<<" && key.type === "PLAIN") merged.push(...this.#mergeSources(key, built));
      else entries.set(key.source ?? String(key.value), { file: this.#file, offset, value: built });
    }
    for (const source of merged) {
      if (source.kind !== "map") continue;
      for (const [key, entry] of source.entries) if (!entries.has(key)) entries.set(key, entry);
    }
    return entries;
  }

  #mergeSources(key: Node, value: YamlNode): readonly YamlNode[] {
    const sources = value.kind === "list" ? (value satisfies ListNode).items : [value];
    if (sources.some((source) => source.kind !== "map"))
      this.#problem(key, "<< takes a mapping, or a list of mappings");
    return sources;
  }

  #alias(alias: Alias): YamlNode {
    const offset = alias.range?.[0] ?? 0;
    const target = this.#anchored(alias.source)
      .filter((node) => (node.range?.[0] ?? 0) < offset)
      .at(-1);
    if (target !== undefined && !this.#open.has(target)) return this.build(target);
    const wrong = target === undefined ? "names no anchor before it" : "stands inside the value that it names";
    this.#problem(alias, `*${alias.source} ${wrong}`);
    return { kind: "scalar", file: this.#file, offset, value: null, text: "" };
  }

  #anchored(name: string): readonly Node[] {
    if (this.#anchors === undefined) {
      const anchors = new Map<string, Node[]>();
      visit(this.#document, {
        Node(_, node) {
          if (isAlias(node) || node.anchor === undefined) return;
          const found = anchors.get(node.anchor);
          if (found === undefined) anchors.set(node.anchor, [node]);
          else found.push(node);
        },
      });
      this.#anchors = anchors;
    }
    return this.#anchors.get(name) ?? [];
  }

  #problem(node: Node, message: string): void {
    this.#problems.push({ position: positionOf({ file: this.#file, offset: node.range?.[0] ?? 0 }), message });
  }
}
