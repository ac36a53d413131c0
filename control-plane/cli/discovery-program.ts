import { Command } from "commander";

import { type Add, groupOption, withOptions } from "./command.ts";
import { durationMs, valued } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** `sluice discovery …`. */
export function addDiscovery(program: Command, add: Add, terminal: Terminal): void {
  const discovery = new Command("discovery").description("show what registries say, and how fresh it is");
  program.addCommand(discovery.copyInheritedSettings(program));
  const commands = () => import("./commands/discovery.ts");
  const registry = () => valued("--registry <name>", "only this registry", "SLUICE_REGISTRY");
  const registries = withOptions(
    new Command("registries")
      .description("show each registry and whether it answers")
      .argument("[name]", "all about this one: its history, and which upstreams use it"),
    groupOption(),
  );
  add(discovery, registries, async (options, [name]) => (await commands()).registries(name, options, terminal));
  const services = withOptions(
    new Command("services").description("show the services that upstreams need: state, ages, users"),
    groupOption(),
    registry(),
  );
  add(discovery, services, async (options) => (await commands()).services(options, terminal));
  const endpoints = withOptions(
    new Command("endpoints").description("show the endpoints of a service").argument("<service>"),
    groupOption(),
    registry(),
  );
  add(discovery, endpoints, async (options, [service = ""]) =>
    (await commands()).endpoints(service, options, terminal),
  );
  const problems = withOptions(
    new Command("problems").description(
      "show what isn't fresh, and upstreams that get no endpoint (exit code 0: nothing, 2: something)",
    ),
    groupOption(),
    registry(),
  );
  add(discovery, problems, async (options) => (await commands()).problems(options, terminal));
  const record = withOptions(
    new Command("record").description("print what is served of each service, and each change of it, as lines of JSON"),
    groupOption(),
    registry(),
    valued("--for <duration>", "how long (default: until it is interrupted)", "SLUICE_FOR").argParser(durationMs),
  );
  add(discovery, record, async (options) => (await import("./commands/discovery-record.ts")).record(options, terminal));
  const find = withOptions(
    new Command("find").description("ask a registry which services it has").argument("<registry>"),
    groupOption(),
  );
  add(discovery, find, async (options, [name = ""]) => (await commands()).find(name, options, terminal));
  addLeaseTokens(discovery, add, terminal);
}

/** `sluice discovery token …`. */
function addLeaseTokens(discovery: Command, add: Add, terminal: Terminal): void {
  const token = new Command("token").description(
    "tokens that let programs report instances to a registry of the kind leases",
  );
  discovery.addCommand(token.copyInheritedSettings(discovery));
  const commands = () => import("./commands/lease-token.ts");
  const group = () => groupOption().default("default");
  const create = withOptions(
    new Command("create").description("make a token; it is shown this once").argument("<registry>").argument("<name>"),
    group(),
    valued(
      "--service <names>",
      'services it is good for, with commas or repeated; "orders-*" for all that begin so (default: all)',
      "SLUICE_SERVICES",
    ).argParser((text: string, before: readonly string[] | undefined) => [...(before ?? []), ...text.split(",")]),
  );
  add(token, create, async (options, [registry = "", name = ""]) =>
    (await commands()).createLeaseToken(registry, name, options, terminal),
  );
  const list = withOptions(
    new Command("list")
      .description("show the names of a registry's tokens, and what they are good for")
      .argument("<registry>"),
    group(),
  );
  add(token, list, async (options, [registry = ""]) => (await commands()).listLeaseTokens(registry, options, terminal));
  const remove = withOptions(
    new Command("delete")
      .description("forget a token; what was reported with it lives as long as it would have")
      .argument("<registry>")
      .argument("<name>"),
    group(),
  );
  add(token, remove, async (options, [registry = "", name = ""]) =>
    (await commands()).deleteLeaseToken(registry, name, options, terminal),
  );
}
