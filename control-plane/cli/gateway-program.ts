import { Command } from "commander";

import { type Add, groupOption, withOptions } from "./command.ts";
import type { ApplyOptions } from "./commands/apply.ts";
import type { StatusOptions } from "./commands/status.ts";
import { flag, type GlobalOptions, valued } from "./options.ts";
import type { Terminal } from "./terminal.ts";

const fileOption = () =>
  valued(
    "-f, --file <path>",
    "a gateway file, a directory of them, or - for standard input",
    "SLUICE_FILE",
  ).makeOptionMandatory();

const pruneOption = () => flag("--prune", "delete everything that the files don't have", "SLUICE_PRUNE");

const dryRunOption = () =>
  flag("--dry-run", "check everything and show what would change, but write nothing", "SLUICE_DRY_RUN");

/** How long `apply --wait` waits unless told otherwise. */
const ROLLOUT_WAIT_MS = 60_000;

/** What is done to a gateway, and how it does: `sluice apply`, `diff`, `get`, `delete`, `status` and `loads`. */
export function addGatewayCommands(program: Command, add: Add, terminal: Terminal): void {
  const apply = withOptions(
    new Command("apply").description("write gateway files to the control plane"),
    fileOption(),
    dryRunOption(),
    pruneOption(),
    flag(
      "--wait",
      "wait until the data planes have accepted it, for --timeout or 60s (exit code 3: refused, 4: not in time)",
      "SLUICE_WAIT",
    ),
  );
  // How long a call may take is another question than how long a rollout may, unless the user says it.
  const waitMs = ({ timeout }: GlobalOptions) =>
    program.getOptionValueSource("timeout") === "default" ? ROLLOUT_WAIT_MS : timeout;
  add(program, apply, async (options: ApplyOptions) =>
    (await import("./commands/apply.ts")).apply({ ...options, waitMs: waitMs(options) }, terminal),
  );
  const diff = withOptions(
    new Command("diff").description("show what apply would change (exit code 0: nothing, 2: something)"),
    fileOption(),
    pruneOption(),
  );
  add(program, diff, async (options) => (await import("./commands/apply.ts")).diff(options, terminal));
  const get = withOptions(
    new Command("get")
      .description("show what the gateway has; -o yaml is a gateway file")
      .argument(
        "<kind>",
        "gateway-groups, services, routes, upstreams, registries, certificates, ca-certificates or all",
      )
      .argument("[name]", "only this one"),
    groupOption(),
  );
  add(program, get, async (options, [kind = "", name]) =>
    (await import("./commands/get.ts")).get(kind, name, options, terminal),
  );
  const remove = withOptions(
    new Command("delete")
      .description("delete an object")
      .argument("<kind>", "service, registry, certificate, ca-certificate or gateway-group")
      .argument("<name>"),
    groupOption().default("default"),
    dryRunOption(),
  );
  add(program, remove, async (options, [kind = "", name = ""]) =>
    (await import("./commands/delete.ts")).remove(kind, name, options, terminal),
  );
  const status = withOptions(
    new Command("status")
      .description("show the control plane and each data plane: what it was sent, accepted and refused")
      .argument("[node]", "all about this data plane"),
    groupOption(),
    valued("--type <type>", "of one data plane's resources, only these: CDS, EDS, LDS, RDS, ...", "SLUICE_TYPE"),
    flag("-w, --watch", "show it again every second", "SLUICE_WATCH"),
    flag(
      "--client",
      "of one data plane, what the client status service (CSDS) says: all that it wants, be it there or not; -o yaml shows contents",
      "SLUICE_CLIENT",
    ),
  );
  add(program, status, async (options: StatusOptions & { readonly client?: boolean }, [node]) =>
    options.client === true
      ? (await import("./commands/client-status.ts")).clientStatus(node, options, terminal)
      : (await import("./commands/status.ts")).status(node, options, terminal),
  );
  const loads = withOptions(
    new Command("loads")
      .description("show the load that data planes report for each upstream (LRS)")
      .argument("[service]", "only the upstreams of this service"),
    groupOption(),
  );
  add(program, loads, async (options, [service]) =>
    (await import("./commands/loads.ts")).loads(service, options, terminal),
  );
}
