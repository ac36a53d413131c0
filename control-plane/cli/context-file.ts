import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

import { CliError } from "./errors.ts";

/** A control plane that the user gave a name. */
export interface Context {
  readonly server: string;
  readonly token?: string | undefined;
  /** Path of a PEM file. */
  readonly ca?: string | undefined;
}

/** The named control planes, and the one used where none is named. */
export interface Contexts {
  readonly current?: string | undefined;
  readonly contexts: Readonly<Record<string, Context>>;
}

/** $XDG_CONFIG_HOME/sluice/config.yaml, by default in ~/.config. */
export function contextsPath(): string {
  const home = process.env["XDG_CONFIG_HOME"];
  return join(home !== undefined && home !== "" ? home : join(homedir(), ".config"), "sluice", "config.yaml");
}

/** The contexts of the user; none where there is no file. */
export async function readContexts(): Promise<Contexts> {
  const path = contextsPath();
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new CliError(`${path} can't be read (${error.code ?? error.message})`);
  });
  if (text === undefined) return { contexts: {} };
  // Few runs have a file, and the parser takes its time to load.
  const { parse, YAMLParseError } = await import("yaml");
  try {
    return check(parse(text), path);
  } catch (error) {
    // The parser's message would quote the line, which may be a token's.
    if (error instanceof YAMLParseError)
      throw new CliError(`${path} is no valid YAML (line ${error.linePos?.[0].line})`);
    throw error;
  }
}

/** Replaces the file as a whole; only its owner may read it. */
export async function writeContexts(contexts: Contexts): Promise<void> {
  const { stringify } = await import("yaml");
  const path = contextsPath();
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, stringify(contexts), { mode: 0o600 });
  await rename(temporary, path);
}

function check(parsed: unknown, path: string): Contexts {
  const damaged = (what: string) => new CliError(`${path}: ${what}`, "put it right, or remove the file");
  if (parsed === null || parsed === undefined) return { contexts: {} };
  if (!isRecord(parsed)) throw damaged("must be a mapping with current and contexts");
  const contexts: Record<string, Context> = Object.create(null) as Record<string, Context>;
  const { current, contexts: entries } = parsed;
  if (current !== undefined && typeof current !== "string") throw damaged("current must be a name");
  if (entries !== undefined && !isRecord(entries)) throw damaged("contexts must be a mapping");
  for (const [name, entry] of Object.entries(entries ?? {})) {
    const { server, token, ca } = isRecord(entry) ? entry : {};
    if (typeof server !== "string") throw damaged(`contexts.${name}.server must be a URL`);
    if (token !== undefined && typeof token !== "string") throw damaged(`contexts.${name}.token must be a text`);
    if (ca !== undefined && typeof ca !== "string") throw damaged(`contexts.${name}.ca must be a path`);
    contexts[name] = { server, token, ca };
  }
  return { current, contexts };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
