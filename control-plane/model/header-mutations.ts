import type { HeaderMutations } from "#sluice/model/v1/headers_pb.ts";

import { formatStringProblem } from "./format-string.ts";
import { quoted, type Report } from "./problem.ts";

/** Data planes keep the host in a field of its own (RFC 9113, 8.3.1), and refuse to take it away. */
const HOST = "host";

/** Reports what data planes would refuse in header mutations. @param field where they stand */
export function checkHeaderMutations(field: string, mutations: HeaderMutations | undefined, report: Report): void {
  if (mutations === undefined) return;
  for (const part of ["set", "add"] as const) {
    for (const [name, value] of Object.entries(mutations[part])) {
      const at = `${field}.${part}[${JSON.stringify(name)}]`;
      if (name.toLowerCase() === HOST) report(at, "not_applicable", "is set by an upstream's passHost");
      const wrong = formatStringProblem(value);
      if (wrong !== undefined) report(at, "invalid_format", wrong);
    }
  }
  for (const [at, name] of mutations.remove.entries()) {
    if (name.toLowerCase() === HOST)
      report(`${field}.remove[${at}]`, "not_applicable", `${quoted(name)} can't be removed`);
  }
}
