import { type BigIntStats, readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

import { type FileProblem, type MapEntry, type MapNode, positionOf, type YamlNode } from "./yaml/tree.ts";

const FILE_BYTES_MAX = 1024 * 1024;

/** Fields that gateway files have and the API doesn't: by list, a field that names a file, and the path of the field that gets its content. */
const fileFields: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  certificates: { certificateFile: ["certificateChain"], keyFile: ["privateKey", "value"] },
  caCertificates: { certificatesFile: ["certificates"], revocationListsFile: ["revocationLists"] },
};

/** Told of each file that a gateway file names, as it is read: its path, and fileSignature() of what was read. */
export type OnFile = (path: string, signature: string) => void;

/** Differs whenever a file does, as far as its metadata tell; "" for one that can't be looked at. */
export const fileSignature = (stats: BigIntStats | undefined): string =>
  stats === undefined ? "" : `${stats.ino} ${stats.size} ${stats.mtimeNs}`;

/**
 * An element of one of a gateway's lists with the contents of the files that it names, which are read here, on the user's machine:
 * `certificateFile: shop.pem` becomes `certificateChain: ...`. Paths are relative to the gateway file.
 */
export function withFileContents(list: string, element: YamlNode, problems: FileProblem[], onFile?: OnFile): YamlNode {
  const fields = fileFields[list];
  if (fields === undefined || element.kind !== "map") return element;
  const entries = new Map<string, MapEntry>();
  for (const [key, entry] of element.entries) {
    const path = fields[key];
    if (path === undefined) {
      entries.set(key, entry);
      continue;
    }
    const [target = "", ...inner] = path;
    const report = (message: string) =>
      problems.push({ position: positionOf(entry), field: `${list}.${key}`, message });
    if (element.entries.has(target)) {
      report(`stands beside ${target}; give only one of them`);
      continue;
    }
    const text = contentOf(entry, report, onFile);
    if (text !== undefined) entries.set(target, { ...entry, value: nested(entry, inner, text) });
  }
  return { ...element, entries };
}

function contentOf(
  { file, value }: MapEntry,
  report: (message: string) => void,
  onFile: OnFile | undefined,
): string | undefined {
  if (value.kind !== "scalar" || typeof value.value !== "string" || value.value === "") {
    report("must be the path of a file");
    return undefined;
  }
  // Standard input has no folder; the working one stands for it.
  const path = resolve(dirname(file.path), value.value);
  try {
    // Before it is read, so that what is written meanwhile makes a difference.
    const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
    onFile?.(path, fileSignature(stats));
    if (stats !== undefined && stats.size > FILE_BYTES_MAX) {
      report(`${path} is larger than ${FILE_BYTES_MAX >> 20} MiB`);
      return undefined;
    }
    return readFileSync(path, "utf8");
  } catch (error) {
    report(`${path} can't be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`);
    return undefined;
  }
}

/** A text as the value at a path of keys, all of them at the place of an entry. */
function nested({ file, offset }: Pick<MapEntry, "file" | "offset">, path: readonly string[], text: string): YamlNode {
  const [key, ...rest] = path;
  if (key === undefined) return { kind: "scalar", file, offset, value: text, text };
  const entry: MapEntry = { file, offset, value: nested({ file, offset }, rest, text) };
  return { kind: "map", file, offset, entries: new Map([[key, entry]]) } satisfies MapNode;
}
