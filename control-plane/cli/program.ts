import { Command } from "commander";

import {
  address,
  defaultAddress,
  durationMs,
  flag,
  type GlobalOptions,
  globalOptions,
  integer,
  valued,
} from "./options.ts";
import { type Action, type Add, groupOption, withOptions } from "./command.ts";
import { addDiscovery } from "./discovery-program.ts";
import { addGatewayCommands } from "./gateway-program.ts";
import type { Terminal } from "./terminal.ts";
import { addTokens } from "./token-program.ts";

/** What commands are given by the process that runs them. */
export interface ProgramContext {
  readonly terminal: Terminal;
  /** The file to start the CLI's own programs with. */
  readonly main: string;
  /** Sets the exit code. */
  readonly exit: (code: number) => void;
}

/** The whole command line. Each command loads its code when it runs. */
export function createProgram({ terminal, main, exit }: ProgramContext): Command {
  const program = new Command("sluice")
    .description("An API gateway: a control plane that speaks xDS, and its proxy.")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeErr: (text) => terminal.err(text.trimEnd()) })
    .showSuggestionAfterError()
    .exitOverride();
  for (const option of globalOptions()) program.addOption(option);

  /** Adds a command; what it takes is `command`'s, what it does is loaded by `load`. */
  const add = (parent: Command, command: Command, action: Action) =>
    parent.addCommand(
      command
        .copyInheritedSettings(parent)
        .action(async (...args: unknown[]) =>
          exit(await action(optionsOf(command), args.slice(0, -2).map(asArgument))),
        ),
    );

  addPrograms(program, add, terminal, main);
  addGatewayCommands(program, add, terminal);
  addDiscovery(program, add, terminal);
  addTokens(program, add, terminal);
  addOtherCommands(program, add, terminal);
  return program;
}

const optionsOf = (command: Command) => command.optsWithGlobals() as never;

const asArgument = (value: unknown) => (typeof value === "string" ? value : undefined);

const nodeIdOption = () =>
  valued("--node-id <id>", "the data plane's name in `sluice status` (default: the host's name)", "SLUICE_NODE_ID");

const workersOption = () =>
  valued("--workers <n>", "the proxy's threads (default: one for each core, at most 8)", "SLUICE_WORKERS").argParser(
    integer(1, 256),
  );

const storeOption = () =>
  valued("--store <url>", "postgres://… (default: SQLite in the data directory)", "SLUICE_STORE");

const secretKeyOption = () =>
  valued(
    "--secret-key-file <file>",
    "keys that encrypt secrets in the store, 32 bytes in base64 each (or SLUICE_SECRET_KEY)",
    "SLUICE_SECRET_KEY_FILE",
  );

const listenOption = (flags: string, description: string, env: string, standard: string) =>
  valued(`${flags} <host:port>`, description, env).argParser(address).default(standard);

const adminListen = () => listenOption("--admin", "where the admin API listens", "SLUICE_ADMIN", defaultAddress.admin);

const xdsListen = () => listenOption("--xds", "where data planes connect", "SLUICE_XDS", defaultAddress.xds);

const tlsOptions = () => [
  valued("--admin-tls-cert <file>", "the admin API's certificate chain, PEM", "SLUICE_ADMIN_TLS_CERT"),
  valued("--admin-tls-key <file>", "its key, PEM", "SLUICE_ADMIN_TLS_KEY"),
];

const xdsServerOptions = () => [
  valued("--xds-tls-cert <file>", "the xDS port's certificate chain, PEM", "SLUICE_XDS_TLS_CERT"),
  valued("--xds-tls-key <file>", "its key, PEM", "SLUICE_XDS_TLS_KEY"),
  valued(
    "--xds-client-ca <file>",
    "authorities of data planes' certificates, which they must show",
    "SLUICE_XDS_CLIENT_CA",
  ),
];

const accessLogFileOption = () =>
  valued("--access-log-file <file>", "where data planes' access log entries go (default: stdout)", "SLUICE_ACCESS_LOG");

const xdsInsecureOption = () =>
  flag("--xds-insecure", "allow xDS as plain text, without secrets, beyond this machine", "SLUICE_XDS_INSECURE");

/** How a data plane is let in by the control plane. */
const joinOptions = () => [
  flag("--xds-tls", "speak TLS with the control plane, trusting the system's authorities", "SLUICE_XDS_TLS"),
  valued("--xds-ca <file>", "speak TLS, trusting the authorities in this PEM file", "SLUICE_XDS_CA"),
  valued("--xds-cert <file>", "show this certificate, PEM", "SLUICE_XDS_CERT"),
  valued("--xds-key <file>", "its key, PEM", "SLUICE_XDS_KEY"),
  valued(
    "--join-token-file <file>",
    "a join token of the gateway group (or SLUICE_JOIN_TOKEN)",
    "SLUICE_JOIN_TOKEN_FILE",
  ),
];

function addPrograms(program: Command, add: Add, terminal: Terminal, main: string): void {
  const drainTime = valued(
    "--drain-time <duration>",
    "how long open connections may go on after SIGTERM",
    "SLUICE_DRAIN_TIME",
  )
    .argParser(durationMs)
    .default(10_000, "10s");
  const up = withOptions(
    new Command("up").description("run a control plane and a native proxy"),
    adminListen(),
    xdsListen(),
    listenOption(
      "--proxy-admin",
      "where the proxy's admin endpoint listens",
      "SLUICE_PROXY_ADMIN",
      defaultAddress.proxyAdmin,
    ),
    valued("--config <file>", "apply this gateway file (or directory) now, and whenever it changes", "SLUICE_CONFIG"),
    flag("--no-proxy", "only the control plane", "SLUICE_NO_PROXY"),
    flag("--demo", "fill an empty gateway with an echo service", "SLUICE_DEMO"),
    workersOption(),
    storeOption(),
    secretKeyOption(),
    groupOption().default("default"),
    nodeIdOption(),
    xdsInsecureOption(),
    ...tlsOptions(),
  );
  add(program, up, async (options) => (await import("./up/up.ts")).up(options, terminal, main));
  const controlPlane = withOptions(
    new Command("control-plane").description("run the control plane"),
    adminListen(),
    xdsListen(),
    storeOption(),
    secretKeyOption(),
    ...tlsOptions(),
    ...xdsServerOptions(),
    xdsInsecureOption(),
    accessLogFileOption(),
  );
  add(program, controlPlane, async (options) => (await import("./programs.ts")).controlPlane(options, terminal));
  const proxy = withOptions(
    new Command("proxy").description("run a native proxy"),
    listenOption("--xds", "the control plane's address", "SLUICE_XDS", defaultAddress.xds),
    groupOption().default("default"),
    nodeIdOption(),
    listenOption("--admin", "where its admin endpoint listens", "SLUICE_PROXY_ADMIN", defaultAddress.proxyAdmin),
    workersOption(),
    valued("--max-connections <n>", "client connections at most; more are closed", "SLUICE_MAX_CONNECTIONS").argParser(
      integer(1, 10_000_000),
    ),
    drainTime,
    ...joinOptions(),
  );
  add(program, proxy, async (options) => (await import("./programs.ts")).proxy(options, terminal));
}

function addOtherCommands(program: Command, add: Add, terminal: Terminal): void {
  const bootstrap = new Command("bootstrap").description("print the start configuration of a data plane");
  program.addCommand(bootstrap.copyInheritedSettings(program));
  const envoy = withOptions(
    new Command("envoy").description("of an Envoy: sluice bootstrap envoy > envoy.yaml; envoy -c envoy.yaml"),
    listenOption("--xds", "the control plane's address", "SLUICE_XDS", defaultAddress.xds),
    groupOption().default("default"),
    nodeIdOption(),
    listenOption("--admin", "where its admin endpoint listens", "SLUICE_PROXY_ADMIN", defaultAddress.proxyAdmin),
    valued("--max-connections <n>", "downstream connections at most", "SLUICE_MAX_CONNECTIONS")
      .argParser(integer(1, 10_000_000))
      .default(50_000),
    flag("--load-reports", "report load to the control plane", "SLUICE_LOAD_REPORTS"),
    ...joinOptions(),
  );
  add(bootstrap, envoy, async (options) => (await import("./commands/bootstrap.ts")).bootstrapEnvoy(options, terminal));

  const context = new Command("context").description("give control planes names");
  program.addCommand(context.copyInheritedSettings(program));
  const commands = () => import("./commands/context.ts");
  add(
    context,
    new Command("set").description("keep --server, --token and --ca under a name").argument("<name>"),
    async (options, [name = ""]) => (await commands()).setContext(name, options, terminal),
  );
  add(
    context,
    new Command("use").description("talk to this one from now on").argument("<name>"),
    async (_, [name = ""]) => (await commands()).useContext(name, terminal),
  );
  add(context, new Command("list").description("show all names"), async (options) =>
    (await commands()).listContexts(options, terminal),
  );
  add(context, new Command("delete").description("forget a name").argument("<name>"), async (_, [name = ""]) =>
    (await commands()).deleteContext(name, terminal),
  );

  add(program, new Command("version").description("show the version"), async (options: GlobalOptions) =>
    (await import("./commands/version.ts")).showVersion(options, terminal),
  );
  const completion = new Command("completion")
    .description("print a shell's completion script")
    .argument("<shell>", "bash, zsh or fish");
  add(program, completion, async (_, [shell = ""]) =>
    (await import("./commands/completion.ts")).completion(shell, program, terminal),
  );
}
