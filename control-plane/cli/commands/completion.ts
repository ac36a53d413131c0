import type { Command } from "commander";

import { CliError, exitCode } from "../errors.ts";
import { kinds } from "../kinds.ts";
import type { Terminal } from "../terminal.ts";

/** What may stand behind a command's words. */
interface Level {
  /** "", "context", "context set", ... */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly flags: readonly { readonly name: string; readonly description: string }[];
  /** Words for the first argument, where they are known. */
  readonly words: readonly string[];
}

const getWords = [...kinds.map(({ plural }) => plural), "routes", "upstreams", "all"];

/** Arguments whose values are few. */
const words: Readonly<Record<string, readonly string[]>> = {
  get: getWords,
  delete: kinds.map(({ noun }) => noun),
  completion: ["bash", "zsh", "fish"],
};

/** `sluice completion SHELL`: a script with all commands and flags; it asks no control plane. */
export async function completion(shell: string, program: Command, terminal: Terminal): Promise<number> {
  const script = { bash, zsh, fish }[shell];
  if (script === undefined) throw new CliError(`there is no completion for "${shell}"`, "bash, zsh or fish");
  terminal.out(script(levelsOf(program)).trimEnd());
  return exitCode.ok;
}

function levelsOf(program: Command): Level[] {
  const globals = flagsOf(program);
  const walk = (command: Command, path: string): Level[] => [
    {
      path,
      commands: command.commands.map((sub) => ({ name: sub.name(), description: sub.description() })),
      flags: path === "" ? globals : [...flagsOf(command), ...globals],
      words: words[path] ?? [],
    },
    ...command.commands.flatMap((sub) => walk(sub, `${path} ${sub.name()}`.trim())),
  ];
  return walk(program, "");
}

const flagsOf = (command: Command) =>
  command.options.flatMap(({ long, description }) => (long ? [{ name: long, description }] : []));

/** Walks the words before the cursor to the deepest command that they name. */
const bash = (levels: readonly Level[]) => `# bash completion of sluice: source <(sluice completion bash)
_sluice() {
  local word path="" index
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    case "\${path:+$path }$word" in
${levels
  .filter(({ path }) => path !== "")
  .map(({ path }) => `      ${quote(path)}) path=${quote(path)} ;;`)
  .join("\n")}
    esac
  done
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words=""
  case "$previous" in
    -f | --file | --config | --data | --ca | --admin-tls-cert | --admin-tls-key)
      COMPREPLY=($(compgen -f -- "$current")); return ;;
    -o | --output) COMPREPLY=($(compgen -W "table json yaml" -- "$current")); return ;;
  esac
  case "$path" in
${levels
  .map(
    (level) =>
      `    ${quote(level.path)}) words=${quote([...level.commands.map(({ name }) => name), ...level.words, ...level.flags.map(({ name }) => name)].join(" "))} ;;`,
  )
  .join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _sluice sluice
`;

const zsh = (levels: readonly Level[]) => `#compdef sluice
# zsh completion of sluice: sluice completion zsh > "\${fpath[1]}/_sluice"
_sluice() {
  local context="" word
  local -a entries
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "\${context:+$context }$word" in
${levels
  .filter(({ path }) => path !== "")
  .map(({ path }) => `      ${quote(path)}) context=${quote(path)} ;;`)
  .join("\n")}
    esac
  done
  case "$words[CURRENT-1]" in
    -f|--file|--config|--data|--ca|--admin-tls-cert|--admin-tls-key) _files; return ;;
    -o|--output) compadd table json yaml; return ;;
  esac
  case "$context" in
${levels
  .map(
    (level) =>
      `    ${quote(level.path)}) entries=(${[
        ...level.commands,
        ...level.words.map((name) => ({ name, description: "" })),
        ...level.flags,
      ]
        .map(({ name, description }) => quote(`${name}:${description}`))
        .join(" ")}) ;;`,
  )
  .join("\n")}
  esac
  _describe sluice entries
}
compdef _sluice sluice
`;

const fish = (levels: readonly Level[]) => `# fish completion of sluice: sluice completion fish | source
function __sluice_at
  set -l path ""
  for word in (commandline -opc)[2..]
    switch (string trim "$path $word")
${levels
  .filter(({ path }) => path !== "")
  .map(({ path }) => `      case ${quote(path)}\n        set path ${quote(path)}`)
  .join("\n")}
    end
  end
  test "$path" = "$argv[1]"
end
${levels
  .flatMap((level) => {
    const at = `complete -c sluice -n ${quote(`__sluice_at "${level.path}"`)}`;
    return [
      ...level.commands.map(({ name, description }) => `${at} -f -a ${quote(name)} -d ${quote(description)}`),
      ...level.words.map((word) => `${at} -f -a ${quote(word)}`),
      ...level.flags.map(({ name, description }) => `${at} -l ${name.slice(2)} -d ${quote(description)}`),
    ];
  })
  .join("\n")}
`;

/** For all three shells: nothing within single quotes is special but the quote. */
const quote = (text: string) => `'${text.replaceAll("'", "’")}'`;
