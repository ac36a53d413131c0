import type { LineCounter } from "yaml";

/** A file that was read, for the positions in it. */
export interface SourceFile {
  /** As the user named it. */
  readonly path: string;
  readonly lines: Pick<LineCounter, "linePos">;
}

/** A place in a file; line and column count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What is wrong with what a user wrote, and what would be right. */
export interface FileProblem {
  /** Not known for what stands in no file. */
  readonly position?: Position | undefined;
  /** In the words of the file, with names for indexes where there are names: "services[orders].hosts[0]". */
  readonly field?: string | undefined;
  readonly message: string;
}

interface Place {
  readonly file: SourceFile;
  /** Characters from the start of the file. */
  readonly offset: number;
}

/** A text, number, truth value or nothing. */
export interface ScalarNode extends Place {
  readonly kind: "scalar";
  readonly value: string | number | bigint | boolean | null;
  /** As it is written, without quotes. */
  readonly text: string;
}

/** A YAML sequence. */
export interface ListNode extends Place {
  readonly kind: "list";
  readonly items: readonly YamlNode[];
}

/** A YAML mapping, with merges done. */
export interface MapNode extends Place {
  readonly kind: "map";
  readonly entries: ReadonlyMap<string, MapEntry>;
}

/** A key with its value. */
export interface MapEntry extends Place {
  readonly value: YamlNode;
}

/** A value as it stands in a file. An alias is the very node that it stands for, so a tree can be larger than its file. */
export type YamlNode = ScalarNode | ListNode | MapNode;

/** Where a node, or a key, begins. */
export function positionOf({ file, offset }: Place): Position {
  const { line, col } = file.lines.linePos(offset);
  return { file: file.path, line, column: col };
}

/** The value at a key; undefined for other kinds of nodes too. */
export const valueAt = (node: YamlNode | undefined, key: string): YamlNode | undefined =>
  node?.kind === "map" ? node.entries.get(key)?.value : undefined;

/** By file, line and column, so that they can be worked off from top to bottom. */
export function inFileOrder(problems: readonly FileProblem[]): FileProblem[] {
  const key = ({ position }: FileProblem) => position ?? { file: "", line: 0, column: 0 };
  return problems.toSorted((a, b) => {
    const [left, right] = [key(a), key(b)];
    if (left.file !== right.file) return left.file < right.file ? -1 : 1;
    return left.line - right.line || left.column - right.column;
  });
}
