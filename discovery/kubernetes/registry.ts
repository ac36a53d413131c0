import { readFileSync } from "node:fs";
import { dirname } from "node:path";

import {
  IpFamily as IpFamilyWord,
  type KubernetesApiServer,
  type KubernetesRegistry,
} from "#sluice/model/v1/registry_pb.ts";
import type { SecretValue } from "#sluice/model/v1/secret_pb.ts";

import { DiscoveryError } from "../source.ts";

import type { AccessProblem, AccessResult, Credential } from "./access.ts";
import { fixedCredential, tokenFile } from "./credentials.ts";
import type { IpFamily } from "./endpoints.ts";
import { inClusterAccess } from "./in-cluster.ts";
import { parseKubeconfig } from "./kubeconfig.ts";
import { KubernetesSource } from "./source.ts";

/**
 * The source that a Registry object describes.
 * @param read gives a secret its value
 * @throws {DiscoveryError} bad_settings, with all that is wrong
 */
export function kubernetesSource(
  registry: KubernetesRegistry,
  read: (secret: SecretValue) => string,
): KubernetesSource {
  const result = accessOf(registry, read);
  if (!result.ok) {
    const words = result.problems.map(({ field, message }) => (field ? `${field}: ${message}` : message));
    throw new DiscoveryError("bad_settings", words.join("; "));
  }
  return new KubernetesSource({
    access: result.access,
    namespaces: registry.namespaces,
    ipFamily: ipFamilies.get(registry.ipFamily) ?? "service",
  });
}

const ipFamilies: ReadonlyMap<IpFamilyWord, IpFamily> = new Map([
  [IpFamilyWord.IPV4, "IPv4"],
  [IpFamilyWord.IPV6, "IPv6"],
]);

function accessOf({ access, context }: KubernetesRegistry, read: (secret: SecretValue) => string): AccessResult {
  if (access.case === "kubeconfig") return kubeconfigAccess(access.value, context, read);
  if (context) return { ok: false, problems: [{ field: "context", message: "goes with a kubeconfig only" }] };
  return access.case === "apiServer" ? apiServerAccess(access.value, read) : inClusterAccess();
}

/**
 * Whoever may write the control plane's files and environment may run commands there anyway. Whoever may call its admin API may not: an
 * inline kubeconfig names no commands and no files.
 */
function kubeconfigAccess(secret: SecretValue, context: string, read: (secret: SecretValue) => string): AccessResult {
  const ours = secret.source.case === "file" || secret.source.case === "env";
  const result = parseKubeconfig(read(secret), {
    ...(context ? { context } : {}),
    ...(ours ? { readFile: (path) => readFileSync(path, "utf8"), allowExec: true, allowInsecure: true } : {}),
    ...(secret.source.case === "file" ? { folder: dirname(secret.source.value) } : {}),
  });
  if (result.ok) return result;
  return { ok: false, problems: result.problems.map((one) => ({ ...one, field: join("kubeconfig", one.field) })) };
}

const join = (...parts: string[]) => parts.filter((part) => part !== "").join(": ");

function apiServerAccess(
  { url, token, tls }: KubernetesApiServer,
  read: (secret: SecretValue) => string,
): AccessResult {
  const problems: AccessProblem[] = [];
  const server = URL.parse(url);
  if (server === null || (server.protocol !== "https:" && server.protocol !== "http:")) {
    problems.push({ field: "api_server.url", message: "must be an http or https URL" });
  }
  const key = tls?.privateKey === undefined ? "" : read(tls.privateKey);
  const certificate = tls?.certificateChain ?? "";
  if ((certificate === "") !== (key === "")) {
    problems.push({ field: "api_server.tls", message: "certificate_chain and private_key go together" });
  }
  if (problems.length > 0 || server === null) return { ok: false, problems };
  const pair: Credential = certificate === "" ? {} : { certificate, key };
  const credentials =
    token?.source.case === "file"
      ? tokenFile(token.source.value, pair)
      : fixedCredential({ ...pair, ...(token === undefined ? {} : { authorization: `Bearer ${read(token)}` }) });
  return {
    ok: true,
    access: {
      server,
      ...(tls?.caCertificates ? { ca: tls.caCertificates } : {}),
      ...(tls?.serverName ? { serverName: tls.serverName } : {}),
      insecureSkipTlsVerify: tls?.verify === false,
      credentials,
      namespace: "default",
    },
  };
}
