import { exitCode } from "../errors.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import type { Terminal } from "../terminal.ts";
import { version } from "../version.ts";

/** `sluice version`: of this program; `status` shows those of control plane and data planes. */
export async function showVersion({ output }: GlobalOptions, terminal: Terminal): Promise<number> {
  await print(
    terminal,
    output,
    { version, node: process.version },
    () => `sluice ${version} (Node ${process.version})`,
  );
  return exitCode.ok;
}
