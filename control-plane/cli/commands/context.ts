import { findConnection } from "../connection.ts";
import { type Contexts, contextsPath, readContexts, writeContexts } from "../context-file.ts";
import { CliError, exitCode } from "../errors.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import { table } from "../table.ts";
import type { Terminal } from "../terminal.ts";

/** `sluice context set`: keeps a server with its token, and makes it the current one if it is the first. */
export async function setContext(name: string, options: GlobalOptions, terminal: Terminal): Promise<number> {
  if (!/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,98}[A-Za-z0-9])?$/.test(name)) {
    throw new CliError(`"${name}" is no name for a context: letters, digits and . _ - between them, at most 100`);
  }
  if (options.server === undefined) throw new CliError("a context needs --server URL");
  const { server, token } = await findConnection(options);
  const before = await readContexts();
  const context = {
    server,
    ...(token !== undefined && { token }),
    ...(options.ca !== undefined && { ca: options.ca }),
  };
  await writeContexts({ current: before.current ?? name, contexts: { ...before.contexts, [name]: context } });
  const note = token === undefined ? "; it has no token: give --token" : "";
  terminal.out(`context ${name} is ${server}${note}`);
  return exitCode.ok;
}

/** `sluice context use`: makes it the one that commands talk to. */
export async function useContext(name: string, terminal: Terminal): Promise<number> {
  const before = await readContexts();
  await writeContexts({ ...before, current: known(before, name) });
  terminal.out(`context ${name} is in use`);
  return exitCode.ok;
}

/** `sluice context delete`. */
export async function deleteContext(name: string, terminal: Terminal): Promise<number> {
  const { current, contexts } = await readContexts();
  known({ contexts }, name);
  const rest = Object.fromEntries(Object.entries(contexts).filter(([other]) => other !== name));
  await writeContexts({ contexts: rest, ...(current !== undefined && current !== name && { current }) });
  terminal.out(`context ${name} is gone`);
  return exitCode.ok;
}

/** `sluice context list`: without the tokens. */
export async function listContexts({ output }: GlobalOptions, terminal: Terminal): Promise<number> {
  const { current, contexts } = await readContexts();
  const rows = Object.entries(contexts).map(([name, { server, token, ca }]) => ({
    name,
    current: name === current,
    server,
    token: token !== undefined,
    ...(ca !== undefined && { ca }),
  }));
  await print(terminal, output, rows, () =>
    rows.length === 0
      ? `no contexts in ${contextsPath()}; sluice context set NAME --server URL --token TOKEN makes one`
      : table(
          ["", "NAME", "SERVER", "TOKEN"],
          rows.map((row) => [row.current ? "*" : "", row.name, row.server, row.token ? "yes" : "no"]),
        ),
  );
  return exitCode.ok;
}

function known({ contexts }: Contexts, name: string): string {
  if (Object.hasOwn(contexts, name)) return name;
  const names = Object.keys(contexts);
  throw new CliError(
    `there is no context ${name}`,
    names.length === 0 ? "there is none at all" : `there are ${names.join(", ")}`,
  );
}
