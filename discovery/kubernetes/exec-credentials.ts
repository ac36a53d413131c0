import { spawn } from "node:child_process";

import { DiscoveryError } from "../source.ts";

import type { Credential, Credentials } from "./access.ts";

/** A credential plugin of a kubeconfig: a program that prints credentials (Kubernetes, "client-go credential plugins"). */
export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Added to our own environment, as far as that isn't about us (SLUICE_...). */
  readonly env: Readonly<Record<string, string>>;
  /** Told to the plugin when it asks for it (`provideClusterInfo`). */
  readonly cluster?: Readonly<Record<string, unknown>>;
  /** Directory that a relative command is looked for in; without a slash PATH decides. */
  readonly cwd?: string;
}

/** The versions of ExecCredential that exist today; both have the fields that are read here. */
export const execApiVersions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/** Plugins may ask a cloud's API; one that takes longer hangs. */
const PLUGIN_TIMEOUT_MS = 30_000;
const OUTPUT_LENGTH_MAX = 1 << 20;
/** Of what it says of itself, so much is kept. */
const WORDS_LENGTH_MAX = 4_096;
/** A credential is renewed this long before it expires, so that no request leaves with one that ends on the way. */
const RENEW_BEFORE_MS = 30_000;

/** What is read of the ExecCredential that a plugin prints. */
interface ExecCredential {
  apiVersion?: string;
  kind?: string;
  status?: {
    expirationTimestamp?: string;
    token?: string;
    clientCertificateData?: string;
    clientKeyData?: string;
  };
}

/**
 * Credentials that a program prints. They are kept until shortly before they expire (for ever when they name no end) or until the server
 * refuses them. Requests that come meanwhile wait for the same run of the program.
 * @param now the wall clock
 * @param timeoutMs how long a run may take
 */
export function execCredentials(
  plugin: ExecPlugin,
  now: () => number = Date.now,
  timeoutMs: number = PLUGIN_TIMEOUT_MS,
): Credentials {
  let known: { credential: Credential; until: number } | undefined;
  let running: Promise<Credential> | undefined;
  const renew = async () => {
    const { credential, expiresAt } = parseExecCredential(plugin, await runPlugin(plugin, timeoutMs));
    known = { credential, until: expiresAt - RENEW_BEFORE_MS };
    return credential;
  };
  return {
    giver: `credential plugin ${plugin.command}`,
    get: async () => {
      if (known !== undefined && now() < known.until) return known.credential;
      running ??= renew().finally(() => (running = undefined));
      return await running;
    },
    refused: (credential) => {
      if (known?.credential === credential) known = undefined;
    },
  };
}

/**
 * Reads what a plugin printed; `expiresAt` is Infinity where it names no end.
 * @throws {DiscoveryError} unauthenticated, when it is no usable ExecCredential. Never shows what was printed: it may be a secret.
 */
export function parseExecCredential(
  plugin: Pick<ExecPlugin, "command" | "apiVersion">,
  output: string,
): { credential: Credential; expiresAt: number } {
  const fail = (message: string) =>
    new DiscoveryError("unauthenticated", `credential plugin ${plugin.command}: ${message}`);
  let parsed: ExecCredential;
  try {
    parsed = JSON.parse(output) as ExecCredential;
  } catch {
    throw fail("printed no JSON");
  }
  if (parsed?.kind !== "ExecCredential") throw fail("printed no ExecCredential");
  if (parsed.apiVersion !== plugin.apiVersion) {
    throw fail(`answered in ${String(parsed.apiVersion)}, was asked for ${plugin.apiVersion}`);
  }
  const { token, clientCertificateData: certificate, clientKeyData: key, expirationTimestamp } = parsed.status ?? {};
  if (!token && !certificate) throw fail("printed neither a token nor a client certificate");
  if (Boolean(certificate) !== Boolean(key)) throw fail("printed a client certificate without its key, or a key alone");
  const expiresAt = expirationTimestamp === undefined ? Number.POSITIVE_INFINITY : Date.parse(expirationTimestamp);
  if (Number.isNaN(expiresAt)) throw fail("printed an expirationTimestamp that is no time");
  return {
    credential: {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(certificate && key ? { certificate, key } : {}),
    },
    expiresAt,
  };
}

/** What a plugin printed, if it ended well and in time. @throws DiscoveryError "unauthenticated" */
function runPlugin(plugin: ExecPlugin, timeoutMs: number): Promise<string> {
  const info = {
    apiVersion: plugin.apiVersion,
    kind: "ExecCredential",
    spec: { interactive: false, ...(plugin.cluster === undefined ? {} : { cluster: plugin.cluster }) },
  };
  const child = spawn(plugin.command, [...plugin.args], {
    env: { ...othersVariables(), ...plugin.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
    ...(plugin.cwd === undefined ? {} : { cwd: plugin.cwd }),
    stdio: ["ignore", "pipe", "pipe"],
    // In a process group of its own, which ends as a whole: what hangs is seldom the script that was called.
    detached: true,
  });
  return new Promise<string>((resolve, reject) => {
    let words = "";
    let output = "";
    const fail = (how: string) => {
      clearTimeout(timer);
      // A plugin explains itself on stderr ("run `cloud login`"); stdout is where secrets are.
      const explained = words.trim().split("\n").at(-1)?.slice(0, 500);
      const message = `credential plugin ${plugin.command}: ${how}${explained ? `: ${explained}` : ""}`;
      reject(new DiscoveryError("unauthenticated", message));
    };
    const stop = (how: string) => {
      // One that hangs may well be deaf to SIGTERM, and nobody could ask again while it runs.
      if (child.pid !== undefined) killGroup(child.pid);
      child.stdout.destroy();
      child.stderr.destroy();
      fail(how);
    };
    const timer = setTimeout(() => stop(`no answer in ${timeoutMs} ms`), timeoutMs);
    child.on("error", (error: NodeJS.ErrnoException) => fail(`failed (${error.code ?? error.message})`));
    // "error" says why; with no descriptor left there are no pipes either.
    if (child.pid === undefined) return;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.length > OUTPUT_LENGTH_MAX) stop(`printed more than ${OUTPUT_LENGTH_MAX} characters`);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (words = (words + text).slice(-WORDS_LENGTH_MAX)));
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(output);
      else fail(`failed (${code ?? signal})`);
    });
  });
}

/** Our environment without what is for us: the administrator's token, the key of all secrets, the database's password. */
const othersVariables = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SLUICE_")));

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It ended meanwhile.
  }
}
