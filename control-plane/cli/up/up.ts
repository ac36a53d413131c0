import { hostname } from "node:os";
import { resolve } from "node:path";

import { type Connection, readToken } from "../connection.ts";
import { CliError, exitCode } from "../errors.ts";
import { dataDirectory, defaultAddress, type GlobalOptions } from "../options.ts";
import { programFlags } from "../program-flags.ts";
import type { Terminal } from "../terminal.ts";
import { banner } from "./banner.ts";
import { Child, type ChildEvents } from "./child.ts";
import { AWAIT_START } from "./messages.ts";

/** Options of `sluice up`. */
export interface UpOptions extends GlobalOptions {
  readonly admin: string;
  readonly xds: string;
  readonly proxyAdmin: string;
  readonly config?: string;
  /** False with --no-proxy. */
  readonly proxy: boolean;
  readonly demo?: boolean;
  readonly workers?: number;
  readonly store?: string;
  readonly secretKeyFile?: string;
  readonly group: string;
  readonly nodeId?: string;
  readonly adminTlsCert?: string;
  readonly adminTlsKey?: string;
  readonly xdsInsecure?: boolean;
}

/** How long the proxy waits for a control plane that starts. */
const PATIENCE_MS = 10_000;

const SYNC_MS_MAX = 8_000;
const STOP_MS_MAX = 10_000;

/** The proxy drains for as long as Envoy's default lets it at most in a foreground run. */
const PROXY_STOP_MS_MAX = 20_000;

/**
 * `sluice up`: a control plane and a native proxy as child processes, kept running until SIGINT or SIGTERM. SIGHUP renews the proxy on the same
 * sockets. `main` is the file of the
 * CLI's entry.
 */
export async function up(options: UpOptions, terminal: Terminal, main: string): Promise<number> {
  const directory = resolve(dataDirectory(options));
  const stop = new AbortController();
  const stopped = onStopSignals(stop);
  const events = childEvents(terminal);

  const controlPlane = new Child(controlPlaneSpec(options, directory), main, events);
  // Both load at the same time; then the proxy waits for the control plane, but not for long: it may have a good configuration on disk.
  const proxy = options.proxy ? new Child(proxySpec(options, directory), main, events) : undefined;
  const beginProxy = (xds: string) => proxy?.begin({ kind: "start", xds: dialable(xds) });
  const patience = options.xds.endsWith(":0") ? undefined : setTimeout(() => beginProxy(options.xds), PATIENCE_MS);
  // Of a terminal it means that the terminal is gone.
  if (!process.stdin.isTTY) process.on("SIGHUP", () => proxy?.restart());
  const echoes: { close(): void }[] = [];
  try {
    // Loading it takes as long as the children take to start.
    const { createAdminClient, explain } = await import("../client.ts");
    const { ConnectError } = await import("@connectrpc/connect");
    const addresses = await orStopped(controlPlane.ready, stop.signal);
    if (addresses === undefined) return exitCode.ok;
    clearTimeout(patience);
    beginProxy(addresses["xds"] ?? options.xds);

    const connection = await ownConnection(options, addresses["admin"] ?? "", directory);
    const client = createAdminClient(connection, options.timeout);
    try {
      if (options.config !== undefined) {
        const { keepApplying } = await import("./config.ts");
        const { ownedObjectsIn } = await import("./config-apply.ts");
        const owned = ownedObjectsIn(directory);
        await keepApplying({ path: options.config, client, owned, terminal, signal: stop.signal });
      }
      const demo = options.demo === true ? await (await import("./demo.ts")).startDemo(client) : undefined;
      if (demo?.kind === "running") echoes.push(...demo.instances);
      const proxyAddresses = proxy && (await orStopped(proxy.ready, stop.signal));
      if (stop.signal.aborted) return exitCode.ok;
      const { printRefusals, waitForNode } = await import("./nodes.ts");
      const node = proxy && (await waitForNode(client, nodeId(options), SYNC_MS_MAX, stop.signal));
      const { gateway } = await client.gateways.export({ gatewayGroup: options.group });
      terminal.out(banner({ options, addresses, proxyAddresses, gateway, demo, node, directory }, terminal.style));
      void printRefusals(client, terminal, stop.signal);
    } catch (error) {
      throw error instanceof ConnectError && !stop.signal.aborted ? explain(error, connection, options.timeout) : error;
    }
    await stopped;
    terminal.err("stopping");
    return exitCode.ok;
  } catch (error) {
    // Whatever a stop interrupted is no error.
    if (stop.signal.aborted) return exitCode.ok;
    throw error;
  } finally {
    stop.abort();
    clearTimeout(patience);
    // The proxy first: it goes on answering what it has begun.
    await proxy?.stop();
    await controlPlane.stop();
    for (const echo of echoes) echo.close();
  }
}

/** Resolves at the first SIGINT or SIGTERM; the second one ends the process at once (and so, over IPC, the children). */
function onStopSignals(stop: AbortController): Promise<void> {
  const { promise, resolve: done } = Promise.withResolvers<void>();
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(exitCode.error);
    stop.abort();
    done();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return promise;
}

/** The value, or undefined once the signal is there. */
async function orStopped<Value>(value: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  const { promise, resolve: done } = Promise.withResolvers<undefined>();
  const onAbort = () => done(undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([value, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

const childEvents = (terminal: Terminal): ChildEvents => ({
  restarting: (name, reason, waitMs) =>
    terminal.err(`${terminal.styleError("yellow", "!")} ${reason}; the ${name} starts again in ${waitMs / 1000}s`),
  restarted: (name) => terminal.err(`${terminal.styleError("green", "✓")} the ${name} runs again`),
});

/**
 * Beside the access log a terminal has room for what is wrong only. Passwords in the store's URL stay out of the process list, hence in the
 * environment.
 */
const environment = ({ store }: UpOptions): NodeJS.ProcessEnv => ({
  SLUICE_LOG_LEVEL: "warn",
  ...process.env,
  ...(store !== undefined && { SLUICE_STORE: store }),
});

const controlPlaneSpec = (options: UpOptions, directory: string) => ({
  name: "control plane",
  args: [
    "control-plane",
    ...["--data", directory, "--admin", options.admin, "--xds", options.xds],
    ...(options.adminTlsCert === undefined ? [] : ["--admin-tls-cert", options.adminTlsCert]),
    ...(options.adminTlsKey === undefined ? [] : ["--admin-tls-key", options.adminTlsKey]),
    ...(options.secretKeyFile === undefined ? [] : ["--secret-key-file", options.secretKeyFile]),
    ...(options.insecure === true ? ["--insecure"] : []),
    ...(options.xdsInsecure === true ? ["--xds-insecure"] : []),
  ],
  execArgv: programFlags("control-plane"),
  env: environment(options),
  stopMsMax: STOP_MS_MAX,
});

/** What is none of the proxy's business: it stands before clients, and its configuration can show its environment (%ENVIRONMENT(X)%). */
const withheld = {
  SLUICE_SECRET_KEY: undefined,
  SLUICE_ADMIN_TOKEN: undefined,
  SLUICE_TOKEN: undefined,
  SLUICE_STORE: undefined,
};

const proxySpec = (options: UpOptions, directory: string) => ({
  name: "proxy",
  args: [
    "proxy",
    ...["--xds", options.xds, "--group", options.group, "--node-id", nodeId(options)],
    ...["--admin", options.proxyAdmin, "--data", directory],
    ...(options.workers === undefined ? [] : ["--workers", String(options.workers)]),
    ...(options.insecure === true ? ["--insecure"] : []),
  ],
  execArgv: programFlags("proxy"),
  env: { ...environment(options), ...withheld, [AWAIT_START]: "1" },
  stopMsMax: PROXY_STOP_MS_MAX,
});

const nodeId = (options: UpOptions) => options.nodeId ?? hostname();

/** An address to connect to, where a program listens on all of them. */
export const dialable = (address: string): string =>
  address.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");

async function ownConnection(options: UpOptions, admin: string, directory: string): Promise<Connection> {
  const tls = options.adminTlsCert !== undefined;
  // Its own environment variable comes before the file.
  const token = options.token ?? (process.env["SLUICE_ADMIN_TOKEN"] || (await readToken(directory)));
  if (token === undefined) throw new CliError(`the control plane left no token in ${directory}`);
  const { readFile } = await import("node:fs/promises");
  // Its certificate may well be for a public name; on this machine it is known by itself.
  const certificate = options.adminTlsCert === undefined ? undefined : await readFile(options.adminTlsCert, "utf8");
  const address = dialable(admin === "" ? defaultAddress.admin : admin);
  return {
    server: `${tls ? "https" : "http"}://${address}`,
    token,
    ca: undefined,
    certificate,
    origin: "its own control plane",
  };
}
