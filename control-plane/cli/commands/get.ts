import { create } from "@bufbuild/protobuf";
import { toPlain } from "#proto/plain.ts";
import { type Gateway, GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";
import { withClient } from "../client.ts";
import { CliError, exitCode } from "../errors.ts";
import { kindNamed, kinds } from "../kinds.ts";
import { shorten } from "../objects.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import type { Terminal } from "../terminal.ts";
import { alternatives, closest } from "../yaml/spelling.ts";
import { asTable } from "./tables.ts";

/** Options of `sluice get`. */
export interface GetOptions extends GlobalOptions {
  readonly group?: string;
}

const words = [...kinds.map(({ plural }) => plural), "routes", "upstreams", "all"] as const;
type Word = (typeof words)[number];

/**
 * `sluice get`: a table, or as JSON or YAML a gateway file that `apply` takes back unchanged. Of a route or an upstream that is the whole
 * service around it, since less could not be applied.
 */
export async function get(
  kindName: string,
  name: string | undefined,
  options: GetOptions,
  terminal: Terminal,
): Promise<number> {
  const word = words.find(
    (candidate) => candidate === kindNamed(kindName)?.plural || candidate === kindName || candidate === `${kindName}s`,
  );
  if (word === undefined) {
    const meant = closest(kindName, words);
    throw new CliError(
      `there are no "${kindName}"`,
      meant === undefined ? `there are ${alternatives(words).replace(" or ", " and ")}` : `did you mean ${meant}?`,
    );
  }
  const exported = await withClient(options, ({ gateways }) => gateways.export({ gatewayGroup: options.group ?? "" }));
  const gateway = select(exported.gateway ?? create(GatewaySchema), word, name);
  await print(terminal, options.output, toPlain(GatewaySchema, gateway), () => asTable(gateway, word, name));
  return exitCode.ok;
}

type Named = { readonly name: string };

/** The part of a gateway that is asked for. A name that nothing has is an error, so that scripts notice. */
function select(gateway: Gateway, word: Word, name: string | undefined): Gateway {
  const isNamed = (object: Named) => name === undefined || object.name === name;
  const lists = kinds.map(({ list, plural }) => {
    if (plural === "services")
      return [list, gateway.services.filter((service) => holds(service, word, isNamed))] as const;
    return [list, word === plural || word === "all" ? gateway[list].filter(isNamed) : []] as const;
  });
  if (name !== undefined && lists.every(([, objects]) => objects.length === 0)) {
    const noun = kinds.find(({ plural }) => plural === word)?.noun ?? (word === "all" ? "object" : word.slice(0, -1));
    const names = namesOf(gateway, word);
    const meant = closest(name, names);
    throw new CliError(
      `there is no ${noun} ${name}`,
      meant === undefined ? `there are: ${shorten(names, 10) || "none"}` : `did you mean ${meant}?`,
    );
  }
  return create(GatewaySchema, Object.fromEntries(lists));
}

/** Whether a service, or what is asked for of it, is meant. */
function holds(service: Service, word: Word, isNamed: (object: Named) => boolean): boolean {
  if (word === "routes") return service.routes.some(isNamed);
  if (word === "upstreams") return service.upstreams.some(isNamed);
  return (word === "services" || word === "all") && isNamed(service);
}

function namesOf(gateway: Gateway, word: Word): string[] {
  const all = kinds.flatMap(({ list, plural }): readonly Named[] =>
    word === plural || word === "all" ? gateway[list] : [],
  );
  const parts =
    word === "routes" || word === "upstreams" ? gateway.services.flatMap((service): Named[] => service[word]) : [];
  return [...new Set([...all, ...parts].map(({ name }) => name))];
}
