import type { Command } from "commander";

import { valued } from "./options.ts";

type Arguments = readonly (string | undefined)[];
/** What a command does with its options and arguments; gives the exit code. */
export type Action = (options: never, args: Arguments) => Promise<number>;
/** Adds a command and what it does. */
export type Add = (parent: Command, command: Command, action: Action) => Command;

/** The gateway group that a command is about. */
export const groupOption = () => valued("-g, --group <name>", "the gateway group", "SLUICE_GROUP");

/** The same command with these options. */
export function withOptions(command: Command, ...options: ReturnType<typeof valued>[]): Command {
  for (const option of options) command.addOption(option);
  return command;
}
