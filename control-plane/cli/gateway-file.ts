import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { type Gateway, GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";

import { type OnFile, withFileContents } from "./file-fields.ts";
import { GatewaySource } from "./gateway-source.ts";
import { parseYaml, startOf } from "./yaml/parse.ts";
import { MessageReader } from "./yaml/read-message.ts";
import { alternatives, closest } from "./yaml/spelling.ts";
import { type FileProblem, inFileOrder, positionOf, type YamlNode } from "./yaml/tree.ts";

/** What a gateway's files hold, or all that is wrong with them. */
export type GatewayRead =
  | { readonly ok: true; readonly gateway: Gateway; readonly source: GatewaySource }
  | { readonly ok: false; readonly problems: readonly FileProblem[] };

/** A file's text under the name that the user gave it. */
export interface GatewayText {
  readonly path: string;
  readonly text: string;
}

const FILE_BYTES_MAX = 64 * 1024 * 1024;
const FILES_MAX = 10_000;

/** Aliases may make a file this many times as large. */
const EXPANSION_MAX = 10;

/** Reads a gateway from a file, or from all *.yaml, *.yml and *.json files of a directory, in the order of their names. */
export async function readGatewayFile(path: string): Promise<GatewayRead> {
  const texts = await readTexts(path);
  return texts.ok ? readGateway(texts.texts) : texts;
}

/** The texts of the files at a path; "-" is standard input. */
export async function readTexts(
  path: string,
): Promise<
  | { readonly ok: true; readonly texts: readonly GatewayText[] }
  | { readonly ok: false; readonly problems: readonly FileProblem[] }
> {
  const refuse = (message: string) => ({ ok: false, problems: [{ message: `${path}: ${message}` }] }) as const;
  try {
    if (path === "-") return { ok: true, texts: [{ path: "standard input", text: await readStandardInput() }] };
    const paths = await filesAt(path);
    if (paths.length === 0) return refuse("no *.yaml, *.yml or *.json file in this directory");
    if (paths.length > FILES_MAX) return refuse(`more than ${FILES_MAX} files`);
    const texts: GatewayText[] = [];
    for (const file of paths) {
      if ((await stat(file)).size > FILE_BYTES_MAX) return refuse(`${file} is larger than ${FILE_BYTES_MAX >> 20} MiB`);
      texts.push({ path: file, text: await readFile(file, "utf8") });
    }
    return { ok: true, texts };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    const said: Readonly<Record<string, string>> = {
      ENOENT: "no such file or directory",
      EACCES: "permission denied",
      EPERM: "permission denied",
    };
    return refuse(said[code] ?? `can't be read (${code})`);
  }
}

async function filesAt(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = await readdir(path, { withFileTypes: true });
  // Hidden files are editors' and Kubernetes' own (..data).
  return names
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith(".") && /\.(ya?ml|json)$/.test(entry.name))
    .map((entry) => join(path, entry.name))
    .sort();
}

async function readStandardInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > FILE_BYTES_MAX) throw Object.assign(new Error("standard input is too large"), { code: "EFBIG" });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/**
 * Reads texts as one gateway: the lists of all documents of all files are joined. Nothing in any of them is a problem too. `onFile` is told of
 * the files that they name.
 */
export function readGateway(texts: readonly GatewayText[], onFile?: OnFile): GatewayRead {
  const problems: FileProblem[] = [];
  const roots: YamlNode[] = [];
  let nodes = 0;
  for (const { path, text } of texts) {
    const parsed = parseYaml(path, text.startsWith("\uFEFF") ? text.slice(1) : text);
    roots.push(...parsed.roots);
    nodes += parsed.nodes;
    problems.push(...parsed.problems);
  }
  if (problems.length === 0 && roots.length === 0) {
    // Half-written files are empty ones for a moment; "delete everything" is said aloud.
    const position = startOf(texts[0]?.path ?? "no file");
    problems.push({ position, message: "is empty; for a gateway without services write services: []" });
  }
  return readRoots(roots, nodes, problems, onFile);
}

function readRoots(
  roots: readonly YamlNode[],
  nodes: number,
  problems: readonly FileProblem[],
  onFile: OnFile | undefined,
): GatewayRead {
  const reader = new MessageReader(EXPANSION_MAX * nodes + 10_000);
  const fields = new Map(GatewaySchema.fields.map((field) => [field.jsonName, field]));
  const elements = new Map<string, YamlNode[]>([...fields.keys()].map((name) => [name, []]));
  for (const root of roots) {
    if (root.kind !== "map") {
      reader.problems.push({
        position: positionOf(root),
        message: `must be a mapping with ${listed(fields.keys())}`,
      });
      continue;
    }
    for (const [key, entry] of root.entries) {
      if (!fields.has(key)) {
        const meant = closest(key, fields.keys());
        const right = meant === undefined ? `it has ${listed(fields.keys())}` : `did you mean ${meant}?`;
        reader.problems.push({
          position: positionOf(entry),
          field: key,
          message: `is no field of a gateway; ${right}`,
        });
      } else if (entry.value.kind === "list") {
        for (const item of entry.value.items) {
          elements.get(key)?.push(withFileContents(key, item, reader.problems, onFile));
        }
      } else {
        reader.problems.push({ position: positionOf(entry.value), field: key, message: "must be a list" });
      }
    }
  }
  // One list each, as if a single file had held them all; so the message's indexes are the source's.
  const entries = new Map(
    [...elements].flatMap(([key, items]) => {
      const [first] = items;
      return first === undefined
        ? []
        : [[key, { ...place(first), value: { kind: "list", ...place(first), items } } as const]];
    }),
  );
  const at = roots[0];
  if (at === undefined) return { ok: false, problems: inFileOrder(problems) };
  const gateway = reader.message(GatewaySchema, { kind: "map", ...place(at), entries }, "").message as Gateway;
  const all = [...problems, ...reader.problems];
  if (all.length > 0) return { ok: false, problems: inFileOrder(all) };
  return { ok: true, gateway, source: new GatewaySource(elements) };
}

const listed = (words: Iterable<string>) => alternatives([...words]).replace(" or ", " and ");

const place = ({ file, offset }: YamlNode) => ({ file, offset });
