import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";

import { readContexts } from "./context-file.ts";
import { CliError } from "./errors.ts";
import { dataDirectory, defaultAddress, type GlobalOptions } from "./options.ts";

/** The admin API to talk to, and what it takes to be let in. */
export interface Connection {
  /** Base URL, without a slash at the end. */
  readonly server: string;
  readonly token: string | undefined;
  /** PEM of the authorities to trust instead of the system's. */
  readonly ca: string | undefined;
  /** PEM of the very certificate that the server has, whatever name and issuer it has: of a control plane on this machine. */
  readonly certificate?: string | undefined;
  /** Says, for error messages, where `server` was found. */
  readonly origin: string;
}

/** What a running control plane leaves in its data directory for clients on the same machine. */
export interface ControlPlaneFile {
  /** Base URL of the admin API. */
  readonly admin: string;
  /** HOST:PORT that data planes connect to. */
  readonly xds: string;
  /** Path of the admin API's certificate, where it has one. */
  readonly certificate?: string | undefined;
}

/** The name of that file. */
export const CONTROL_PLANE_FILE = "control-plane.json";

/** The administrator's token, made by the control plane at its first start. */
export const TOKEN_FILE = "admin-token";

/**
 * Finds the control plane: flags and environment, else a named or the current context, else the data directory (which, named explicitly,
 * goes before the current context). A stored token is sent only to the server that it belongs to.
 */
export async function findConnection(options: GlobalOptions): Promise<Connection> {
  const found = await findServer(options);
  const connection = {
    ...found,
    token: options.token ?? found.token,
    ca: options.ca === undefined ? found.ca : await readOption("--ca", options.ca),
  };
  const url = parseServer(connection.server, connection.origin);
  if (url.protocol === "http:" && !isLoopback(url.hostname) && options.insecure !== true) {
    throw new CliError(
      `${connection.server} (${connection.origin}) would get the token in plain text`,
      "use https://, or --insecure if the network between is trusted",
    );
  }
  return { ...connection, server: url.href.replace(/\/+$/, "") };
}

async function findServer(options: GlobalOptions): Promise<Connection> {
  const contexts = options.server !== undefined || options.context !== undefined || options.data === undefined;
  const file = contexts ? await readContexts() : { contexts: {} };
  if (options.server !== undefined) {
    const server = options.server.includes("://") ? options.server : `http://${options.server}`;
    const same = Object.values(file.contexts).find((context) => context.server === server);
    const local = await readControlPlaneFile(dataDirectory(options));
    const token = same?.token ?? (local?.admin === server ? await readToken(dataDirectory(options)) : undefined);
    const certificate = local?.admin === server ? await readCertificate(local) : undefined;
    return { server, token, ca: undefined, certificate, origin: "--server or SLUICE_SERVER" };
  }
  const name = options.context ?? (options.data === undefined ? file.current : undefined);
  if (name !== undefined) {
    const context = file.contexts[name];
    if (context === undefined) {
      throw new CliError(`there is no context ${name}`, `sluice context set ${name} --server URL --token TOKEN`);
    }
    const ca = context.ca === undefined ? undefined : await readOption(`context ${name}: ca`, context.ca);
    return { server: context.server, token: context.token, ca, origin: `context ${name}` };
  }
  const directory = dataDirectory(options);
  const local = await readControlPlaneFile(directory);
  const token = await readToken(directory);
  const server = local?.admin ?? `http://${defaultAddress.admin}`;
  const origin = local === undefined ? "the default" : join(directory, CONTROL_PLANE_FILE);
  return { server, token, ca: undefined, certificate: local && (await readCertificate(local)), origin };
}

function parseServer(server: string, origin: string): URL {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol) || url.username !== "") {
    throw new CliError(`the server "${server}" (${origin}) is no URL like https://gateway.example.com:9180`);
  }
  return url;
}

/** Whether traffic to a host name or address stays on this machine. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  return bare === "localhost" || bare === "::1" || (isIP(bare) === 4 && bare.startsWith("127."));
}

/** The token in a data directory; undefined where there is none. */
export async function readToken(directory: string): Promise<string | undefined> {
  const text = await readIfThere(join(directory, TOKEN_FILE));
  return text?.trim() || undefined;
}

/** The addresses of the control plane that last started in a data directory. */
async function readControlPlaneFile(directory: string): Promise<ControlPlaneFile | undefined> {
  const path = join(directory, CONTROL_PLANE_FILE);
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  try {
    const { admin, xds, certificate } = JSON.parse(text) as Partial<Record<string, unknown>>;
    if (typeof admin !== "string" || typeof xds !== "string") throw new SyntaxError("no addresses");
    return { admin, xds, certificate: typeof certificate === "string" ? certificate : undefined };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new CliError(`${path} is damaged`, "start the control plane again, or give --server");
  }
}

const readCertificate = ({ certificate }: ControlPlaneFile) =>
  certificate === undefined ? undefined : readIfThere(certificate);

async function readOption(option: string, path: string): Promise<string> {
  const text = await readIfThere(path);
  if (text === undefined) throw new CliError(`${option}: there is no file ${path}`);
  return text;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new CliError(`${path} can't be read (${code ?? "unknown error"})`);
  }
}
