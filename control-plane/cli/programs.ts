import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { flushCompileCache } from "node:module";
import { hostname } from "node:os";
import { join, resolve } from "node:path";

import { CONTROL_PLANE_FILE, type ControlPlaneFile } from "./connection.ts";
import { CliError, exitCode } from "./errors.ts";
import { followHeap } from "./heap-growth.ts";
import { type JoinOptions, joinProblem } from "./join-options.ts";
import { dataDirectory, type GlobalOptions } from "./options.ts";
import type { Terminal } from "./terminal.ts";
import { type ChildMessage, startAddress, tellSupervisor } from "./up/messages.ts";
import { dialable } from "./up/up.ts";
import { version } from "./version.ts";

/** Options of `sluice control-plane`. */
export interface ControlPlaneOptions extends GlobalOptions {
  readonly admin: string;
  readonly xds: string;
  readonly store?: string;
  readonly secretKeyFile?: string;
  readonly adminTlsCert?: string;
  readonly adminTlsKey?: string;
  readonly xdsTlsCert?: string;
  readonly xdsTlsKey?: string;
  readonly xdsClientCa?: string;
  readonly xdsInsecure?: boolean;
  readonly accessLogFile?: string;
}

/** Options of `sluice proxy`. */
export interface ProxyOptions extends GlobalOptions, JoinOptions {
  readonly xds: string;
  readonly group: string;
  readonly nodeId?: string;
  readonly admin: string;
  readonly workers?: number;
  readonly drainTime: number;
  readonly maxConnections?: number;
}

/** `sluice control-plane`: runs until SIGINT or SIGTERM. */
export async function controlPlane(options: ControlPlaneOptions, terminal: Terminal): Promise<number> {
  if ((options.adminTlsCert === undefined) !== (options.adminTlsKey === undefined)) {
    throw new CliError("--admin-tls-cert and --admin-tls-key go together");
  }
  const directory = resolve(dataDirectory(options));
  return run(terminal, async () => {
    const { runControlPlane } = await import("../main.ts");
    const running = await runControlPlane({
      dataDirectory: directory,
      adminAddress: options.admin,
      xdsAddress: options.xds,
      storeUrl: options.store,
      secretKeyFile: options.secretKeyFile,
      adminTlsCert: options.adminTlsCert,
      adminTlsKey: options.adminTlsKey,
      insecure: options.insecure === true,
      xdsTlsCert: options.xdsTlsCert,
      xdsTlsKey: options.xdsTlsKey,
      xdsClientCa: options.xdsClientCa,
      xdsInsecure: options.xdsInsecure === true,
      accessLogFile: options.accessLogFile,
    });
    // control-plane/cli/sluice has what holds until here.
    followHeap();
    const scheme = options.adminTlsCert === undefined ? "http" : "https";
    await writeControlPlaneFile(directory, {
      admin: `${scheme}://${dialable(running.adminAddress)}`,
      xds: dialable(running.xdsAddress),
      ...(options.adminTlsCert !== undefined && { certificate: resolve(options.adminTlsCert) }),
    });
    return { addresses: { admin: running.adminAddress, xds: running.xdsAddress }, close: () => running.close() };
  });
}

/** `sluice proxy`: runs until SIGINT or SIGTERM, then drains; SIGHUP starts a successor that takes over. */
export async function proxy(options: ProxyOptions, terminal: Terminal): Promise<number> {
  // A process that is starting is new already; without a listener the signal would end it.
  process.on("SIGHUP", () => {});
  return run(terminal, async () => {
    const { receiveHandover, runProxy } = await import("../../proxy/main.ts");
    const handover = await receiveHandover();
    const running = await runProxy({
      xdsAddress: handover === undefined ? startAddress(options.xds) : handover.xds,
      handover,
      xdsSecurity: xdsSecurityOf(options),
      gatewayGroup: options.group,
      nodeId: options.nodeId ?? hostname(),
      adminAddress: options.admin,
      workers: options.workers,
      dataDirectory: resolve(dataDirectory(options)),
      drainTimeMs: options.drainTime,
      maxConnections: options.maxConnections,
      version,
      insecure: options.insecure === true,
      logLevel: process.env["SLUICE_LOG_LEVEL"],
    });
    return {
      addresses: { proxyAdmin: running.adminAddress },
      close: () => running.close(),
      replace: () => running.replace(),
      line: handover?.lifeline,
    };
  });
}

/** How the proxy is let in; a token in the environment is taken as it is, one in a file is read whenever it connects. */
function xdsSecurityOf(options: JoinOptions) {
  const problem = joinProblem(options);
  if (problem !== undefined) throw new CliError(problem);
  const { xdsTls, xdsCa: caFile, xdsCert: certFile, xdsKey: keyFile, joinTokenFile: tokenFile } = options;
  const tls = xdsTls === true || caFile !== undefined ? { caFile, certFile, keyFile } : undefined;
  return { tls, tokenFile, token: process.env["SLUICE_JOIN_TOKEN"] || undefined };
}

interface Running {
  readonly addresses: Readonly<Record<string, string>>;
  close(): Promise<void>;
  /** Hot restart, where the program can do that; undefined: there is no successor, and it goes on. */
  replace?(): Promise<Replaced | undefined>;
  /** Where commands come from in a successor. */
  readonly line?: CommandLine | undefined;
}

/** What is left to do for a process that was replaced: the first of its line stays, as the one that others know, and passes signals on. */
interface Replaced {
  readonly line: { stop(): void; restart(): void; readonly ended: Promise<void> } | undefined;
}

interface CommandLine {
  listen(commands: { readonly stop: () => void; readonly restart: () => void }): void;
}

/** Starts a program, says where it listens, and ends it gracefully at a signal or when its supervisor is gone. */
async function run(terminal: Terminal, start: () => Promise<Running>): Promise<number> {
  const { stopped, ask } = stopRequested();
  let running: Running;
  try {
    const started = await Promise.race([start(), stopped]);
    // Told to end before it began: there is nothing yet that must end in order.
    if (started === undefined) process.exit(exitCode.ok);
    running = started;
  } catch (error) {
    const failure = startFailure(error);
    if (failure === undefined) throw error;
    const message: ChildMessage = { kind: "failed", message: failure.message, fix: failure.fix };
    // The supervisor prints it.
    if (tellSupervisor(message)) return exitCode.error;
    throw failure;
  }
  // A successor has taken over from here on, and stays when the process before it goes: that is what it is for.
  if (running.line !== undefined) process.removeAllListeners("disconnect");
  if (!tellSupervisor({ kind: "ready", addresses: running.addresses })) {
    for (const [name, address] of Object.entries(running.addresses)) terminal.err(`${name} listens on ${address}`);
  }
  // Written at the end otherwise, which a program that is killed does not reach.
  flushCompileCache();
  const replaced = await untilReplacedOrStopped(running, stopped, ask);
  if (replaced === undefined) await running.close();
  else if (replaced.line !== undefined && !(await outlive(replaced.line, stopped))) return exitCode.error;
  // From here on the channel is closed by this side.
  process.removeAllListeners("disconnect");
  return exitCode.ok;
}

/** Serves until it is to end (undefined), or a successor serves in its place. */
async function untilReplacedOrStopped(
  running: Running,
  stopped: Promise<undefined>,
  stop: () => void,
): Promise<Replaced | undefined> {
  const { promise, resolve: done } = Promise.withResolvers<Replaced>();
  let replacing = false;
  /** Asked for while this process was still being replaced: then its successor is to be replaced as well. */
  let again = false;
  const replace = async (): Promise<void> => {
    again = replacing;
    if (replacing) return;
    replacing = true;
    const replaced = await running.replace?.();
    replacing = false;
    if (replaced === undefined) return again ? replace() : undefined;
    if (again) replaced.line?.restart();
    done(replaced);
  };
  const restart = () => void replace();
  if (running.replace !== undefined) process.on("SIGHUP", restart);
  running.line?.listen({ stop, restart });
  return Promise.race([promise, stopped]);
}

/** Passes signals on to whichever process serves now, until the last one has ended. False: it ended although nobody asked it to. */
async function outlive(line: NonNullable<Replaced["line"]>, stopped: Promise<undefined>): Promise<boolean> {
  let asked = false;
  // The one that replaced this process has no effect any more, and a signal without any listener would end the process.
  const restarts = process.listeners("SIGHUP");
  process.on("SIGHUP", () => line.restart());
  for (const restart of restarts) process.off("SIGHUP", restart);
  void stopped.then(() => {
    asked = true;
    line.stop();
  });
  await line.ended;
  return asked;
}

/** When the program is to end, and a way to ask for it; a second signal ends it at once. */
function stopRequested(): { readonly stopped: Promise<undefined>; readonly ask: () => void } {
  const { promise, resolve: done } = Promise.withResolvers<undefined>();
  let asked = false;
  const ask = () => {
    if (asked) process.exit(exitCode.error);
    asked = true;
    done(undefined);
  };
  process.on("SIGTERM", ask);
  // Ctrl-C reaches the whole process group; a supervisor, or the first process of a line, decides when its programs end.
  process.on("SIGINT", process.connected ? () => {} : ask);
  // The supervisor is gone, in whatever way, or the process that this one was to succeed.
  process.on("disconnect", ask);
  return { stopped: promise, ask };
}

/** What a user can do something about when a program can't start. */
function startFailure(error: unknown): CliError | undefined {
  if (error instanceof CliError) return error;
  if (!(error instanceof Error)) return undefined;
  const { code, address, port, path } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  const at = port === undefined ? (path ?? "") : `${address ?? "127.0.0.1"}:${port}`;
  switch (code) {
    case "EADDRINUSE":
      return new CliError(
        `${at} is taken by another program`,
        `stop it (ss -ltnp | grep :${port}), or choose another address`,
      );
    case "EACCES":
    case "EPERM":
      return new CliError(`${at} is not permitted to this user`, "choose a port from 1024 up, or grant the right");
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return new CliError(`${at === "" ? error.message : at} is no address of this machine`);
    default:
      // Anything else is a bug and keeps its stack.
      return explainedErrors.has(error.name) ? new CliError(error.message) : undefined;
  }
}

/** What control plane and proxy throw at the start to tell the user what is wrong. */
const explainedErrors: ReadonlySet<string> = new Set([
  "AddressError",
  "ListenError",
  "StartError",
  "StoreError",
  "TlsError",
  "TokenError",
]);

/** Tells clients on this machine where it listens. */
async function writeControlPlaneFile(directory: string, content: ControlPlaneFile): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, CONTROL_PLANE_FILE);
  const temporary = `${path}.${process.pid}`;
  await writeFile(temporary, `${JSON.stringify(content)}\n`, { mode: 0o600 });
  await rename(temporary, path).catch(async (error: unknown) => {
    await rm(temporary, { force: true });
    throw error;
  });
}
