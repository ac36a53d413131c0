import { Command } from "commander";

import { type Add, groupOption, withOptions } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/** `sluice token …`. */
export function addTokens(program: Command, add: Add, terminal: Terminal): void {
  const token = new Command("token").description("tokens that let data planes join a gateway group");
  program.addCommand(token.copyInheritedSettings(program));
  const commands = () => import("./commands/token.ts");
  const group = () => groupOption().default("default");
  const create = withOptions(
    new Command("create").description("make a token; it is shown this once").argument("<name>"),
    group(),
  );
  add(token, create, async (options, [name = ""]) => (await commands()).createToken(name, options, terminal));
  const list = withOptions(new Command("list").description("show the names of a group's tokens"), group());
  add(token, list, async (options) => (await commands()).listTokens(options, terminal));
  const remove = withOptions(
    new Command("delete").description("forget a token: data planes that use it are cut off").argument("<name>"),
    group(),
  );
  add(token, remove, async (options, [name = ""]) => (await commands()).deleteToken(name, options, terminal));
}
