import { X509Certificate } from "node:crypto";
import { isAbsolute, join } from "node:path";

import { parseDocument } from "yaml";

import { DiscoveryError } from "../source.ts";

import type { AccessProblem, AccessResult, Credential, Credentials } from "./access.ts";
import { fixedCredential, readCredential, tokenFile } from "./credentials.ts";
import { type ExecPlugin, execApiVersions, execCredentials } from "./exec-credentials.ts";

/** What a kubeconfig may do and where it lies. */
export interface KubeconfigOptions {
  /** The context to use; that of `current-context` when undefined. */
  readonly context?: string;
  /** Reads a file that the kubeconfig names. Undefined: it may name none, as when it came over the network. */
  readonly readFile?: (path: string) => string;
  /** The folder that relative paths start from: the kubeconfig's own. */
  readonly folder?: string;
  /** Whether it may name a program to run for credentials. Never for one that came over the network: it would run commands here. */
  readonly allowExec?: boolean;
  /** Whether `insecure-skip-tls-verify` counts. */
  readonly allowInsecure?: boolean;
}

interface NamedCluster {
  server?: string;
  "certificate-authority"?: string;
  "certificate-authority-data"?: string;
  "tls-server-name"?: string;
  "insecure-skip-tls-verify"?: boolean;
  "proxy-url"?: string;
}

interface NamedUser {
  token?: string;
  tokenFile?: string;
  "client-certificate"?: string;
  "client-certificate-data"?: string;
  "client-key"?: string;
  "client-key-data"?: string;
  exec?: {
    apiVersion?: string;
    command?: string;
    args?: string[] | null;
    env?: { name: string; value: string }[] | null;
    interactiveMode?: string;
    provideClusterInfo?: boolean;
  };
}

interface Kubeconfig {
  "current-context"?: string;
  clusters?: { name: string; cluster?: NamedCluster }[];
  contexts?: { name: string; context?: { cluster?: string; user?: string; namespace?: string } }[];
  users?: { name: string; user?: NamedUser }[];
}

/** A kubeconfig of a hundred clusters is some 500 kB. */
const KUBECONFIG_BYTES_MAX = 4 << 20;

/** Fields of a user that say who to be in a way that we don't do; ignoring them would make us somebody else. */
const refusedUserFields = ["auth-provider", "username", "password", "as", "as-uid", "as-groups", "as-user-extra"];

/** Reads a kubeconfig (kubectl's format, v1) and picks one context. All problems are reported at once; none shows a secret. */
export function parseKubeconfig(text: string, options: KubeconfigOptions = {}): AccessResult {
  const problems: AccessProblem[] = [];
  const problem = (field: string, message: string) => void problems.push({ field, message });
  if (Buffer.byteLength(text) > KUBECONFIG_BYTES_MAX) {
    return { ok: false, problems: [{ field: "", message: `longer than ${KUBECONFIG_BYTES_MAX} bytes` }] };
  }
  const config = parseYaml(text);
  if (typeof config === "string") return { ok: false, problems: [{ field: "", message: config }] };

  const contextName = options.context ?? config["current-context"] ?? "";
  const context = named(config.contexts, contextName)?.context;
  if (context === undefined) {
    const known = config.contexts?.map(({ name }) => name).join(", ") || "none";
    const field = options.context === undefined ? "current-context" : "context";
    return {
      ok: false,
      problems: [
        { field, message: contextName ? `no context "${contextName}" here; there are: ${known}` : "is missing" },
      ],
    };
  }
  const cluster = named(config.clusters, context.cluster)?.cluster;
  if (cluster === undefined) problem(`contexts[${contextName}].cluster`, `no cluster "${context.cluster}" here`);
  const user = context.user ? named(config.users, context.user)?.user : {};
  if (user === undefined) problem(`contexts[${contextName}].user`, `no user "${context.user}" here`);
  if (cluster === undefined || user === undefined) return { ok: false, problems };

  const file = fileReader(options, problem);
  const at = `clusters[${context.cluster}]`;
  const server = readServer(cluster.server, `${at}.server`, problem);
  if (cluster["proxy-url"]) problem(`${at}.proxy-url`, "is not supported");
  const insecure = cluster["insecure-skip-tls-verify"] === true;
  if (insecure && !options.allowInsecure) {
    problem(`${at}.insecure-skip-tls-verify`, "is refused unless the registry allows it too");
  }
  const ca = data(cluster, "certificate-authority", at, file, problem);
  if (ca !== undefined && !isCertificate(ca)) problem(`${at}.certificate-authority`, "holds no certificate");
  const credentials = readUser(user, cluster, `users[${context.user}]`, options, file, problem);

  if (problems.length > 0 || server === undefined || credentials === undefined) return { ok: false, problems };
  return {
    ok: true,
    access: {
      server,
      // What is wrong with it then shows when it is used.
      ...(ca === undefined
        ? {}
        : {
            ca,
            readCa: () =>
              data(
                cluster,
                "certificate-authority",
                at,
                fileReader(options, () => {}),
                () => {},
              ),
          }),
      ...(cluster["tls-server-name"] ? { serverName: cluster["tls-server-name"] } : {}),
      insecureSkipTlsVerify: insecure,
      credentials,
      namespace: context.namespace || "default",
    },
  };
}

type Problem = (field: string, message: string) => void;
type FileReader = (path: string, field: string) => string | undefined;

function parseYaml(text: string): Kubeconfig | string {
  const document = parseDocument(text, { prettyErrors: false });
  const error = document.errors[0];
  // Not the parser's message with its excerpt: the line may hold a token.
  if (error !== undefined) return `is not YAML (${error.code} at offset ${error.pos[0]})`;
  const config: unknown = document.toJS({ maxAliasCount: 100 });
  if (typeof config !== "object" || config === null || Array.isArray(config)) return "is no kubeconfig";
  for (const list of ["clusters", "contexts", "users"] as const) {
    const entries = (config as Record<string, unknown>)[list];
    if (entries !== undefined && entries !== null && !Array.isArray(entries)) return `${list}: must be a list`;
  }
  return config;
}

const named = <T extends { name: string }>(entries: readonly T[] | null | undefined, name: string | undefined) =>
  entries?.find((entry) => entry?.name === name);

function readServer(server: string | undefined, field: string, problem: Problem): URL | undefined {
  const url = server === undefined ? null : URL.parse(server);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    problem(field, "must be an http or https URL");
    return undefined;
  }
  if (url.username || url.password || url.search || url.hash)
    problem(field, "must be an address without anything else");
  return url;
}

const fileReader =
  ({ readFile, folder = "." }: KubeconfigOptions, problem: Problem): FileReader =>
  (path, field) => {
    if (readFile === undefined) {
      problem(field, "names a file, which only a kubeconfig on the control plane's own disk may do; inline the data");
      return undefined;
    }
    const from = isAbsolute(path) ? path : join(folder, path);
    try {
      return readFile(from);
    } catch (error) {
      problem(field, `${from}: ${(error as NodeJS.ErrnoException).code ?? "can't be read"}`);
      return undefined;
    }
  };

/** A PEM that is there itself in base64 (`NAME-data`, which wins, as with kubectl) or in a file (`NAME`). */
function data(
  from: object,
  name: "certificate-authority" | "client-certificate" | "client-key",
  at: string,
  file: FileReader,
  problem: Problem,
): string | undefined {
  const fields = from as Record<string, unknown>;
  const inline = fields[`${name}-data`];
  if (inline) {
    const text = typeof inline === "string" ? Buffer.from(inline, "base64").toString("utf8") : "";
    if (!text.includes("-----BEGIN ")) problem(`${at}.${name}-data`, "is no PEM in base64");
    return text;
  }
  const path = fields[name];
  return typeof path === "string" && path !== "" ? file(path, `${at}.${name}`) : undefined;
}

function readUser(
  user: NamedUser,
  cluster: NamedCluster,
  at: string,
  options: KubeconfigOptions,
  file: FileReader,
  problem: Problem,
): Credentials | undefined {
  for (const field of refusedUserFields) if (field in user) problem(`${at}.${field}`, "is not supported");
  const pair = readPair(user, at, file, problem);
  if (user.exec !== undefined) return readExec(user.exec, cluster, `${at}.exec`, options, problem);
  if (user.tokenFile) {
    // Read now only to find mistakes early; its content may change.
    file(user.tokenFile, `${at}.tokenFile`);
    const { folder = "." } = options;
    return tokenFile(isAbsolute(user.tokenFile) ? user.tokenFile : join(folder, user.tokenFile), pair);
  }
  if (user.token !== undefined && !/^[\x21-\x7e]+$/.test(user.token)) problem(`${at}.token`, "is no token");
  const token = user.token ? { authorization: `Bearer ${user.token}` } : {};
  const isInFiles = Boolean(user["client-certificate"] && !user["client-certificate-data"]);
  if (!isInFiles) return fixedCredential({ ...pair, ...token });
  // Whoever renews certificates puts others in their place, and leaves the kubeconfig as it is.
  return readCredential(() => {
    const problems: string[] = [];
    const now: Problem = (field, message) => void problems.push(`${field}: ${message}`);
    const renewed = readPair(user, at, fileReader(options, now), now);
    if (problems.length > 0) throw new DiscoveryError("unauthenticated", `kubeconfig: ${problems.join("; ")}`);
    return { ...renewed, ...token };
  });
}

/** The client certificate and its key, or neither. */
function readPair(user: NamedUser, at: string, file: FileReader, problem: Problem): Credential {
  const certificate = data(user, "client-certificate", at, file, problem);
  const key = data(user, "client-key", at, file, problem);
  if ((certificate === undefined) !== (key === undefined)) {
    problem(`${at}.client-certificate`, "a client certificate and its key go together");
  }
  return certificate !== undefined && key !== undefined ? { certificate, key } : {};
}

function readExec(
  exec: NonNullable<NamedUser["exec"]>,
  cluster: NamedCluster,
  at: string,
  options: KubeconfigOptions,
  problem: Problem,
): Credentials | undefined {
  const { apiVersion = "", command = "" } = exec;
  if (!options.allowExec) {
    problem(at, "names a program to run, which only a kubeconfig on the control plane's own disk may do");
    return undefined;
  }
  if (!execApiVersions.includes(apiVersion))
    problem(`${at}.apiVersion`, `must be one of ${execApiVersions.join(", ")}`);
  if (command === "") problem(`${at}.command`, "is missing");
  if (exec.interactiveMode === "Always") problem(`${at}.interactiveMode`, "Always: there is nobody to ask here");
  const plugin: ExecPlugin = {
    apiVersion,
    // As with kubectl: a name is looked for in PATH, a path relative to the kubeconfig.
    command: command.includes("/") && !isAbsolute(command) ? join(options.folder ?? ".", command) : command,
    args: exec.args ?? [],
    env: Object.fromEntries((exec.env ?? []).map(({ name, value }) => [name, value])),
    ...(exec.provideClusterInfo ? { cluster: { ...cluster } } : {}),
  };
  return execCredentials(plugin);
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== "";
  } catch {
    return false;
  }
}
