import type { OutputFormat } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** Prints data as JSON or YAML; as a table only `asTable` knows how. */
export async function print(
  terminal: Terminal,
  format: OutputFormat,
  data: unknown,
  asTable: () => string,
): Promise<void> {
  if (format === "json") terminal.out(JSON.stringify(data, null, 2));
  else if (format === "yaml") terminal.out((await import("./yaml/write.ts")).toYaml(data).trimEnd());
  else terminal.out(asTable());
}
