import { quoted, type Report } from "./problem.ts";

/** Reports every element whose name an earlier one has. */
export function checkUniqueNames(field: string, elements: readonly { readonly name: string }[], report: Report): void {
  const first = new Map<string, number>();
  for (const [at, { name }] of elements.entries()) {
    const before = first.get(name);
    // That a name is missing is reported elsewhere.
    if (name === "") continue;
    if (before === undefined) first.set(name, at);
    else
      report(
        `${field}[${at}].name`,
        "duplicate",
        `${quoted(name)} is the name of ${field}[${before}] too; names are unique`,
      );
  }
}
