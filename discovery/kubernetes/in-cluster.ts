import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { AccessProblem, AccessResult } from "./access.ts";
import { tokenFile } from "./credentials.ts";

/** Where Kubernetes puts a pod's service account. */
const SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * Access to the cluster that this program runs in, as the service account of its pod. `env` is the process' environment, in which
 * Kubernetes names its API server.
 */
export function inClusterAccess(
  env: Readonly<Record<string, string | undefined>> = process.env,
  folder: string = SERVICE_ACCOUNT_FOLDER,
): AccessResult {
  const problems: AccessProblem[] = [];
  const host = env["KUBERNETES_SERVICE_HOST"];
  const port = env["KUBERNETES_SERVICE_PORT"];
  if (!host || !port) {
    const message = "not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set";
    problems.push({ field: "in_cluster", message });
  }
  const read = (name: string) => {
    try {
      return readFileSync(join(folder, name), "utf8").trim();
    } catch (error) {
      problems.push({
        field: "in_cluster",
        message: `${join(folder, name)}: ${(error as NodeJS.ErrnoException).code}`,
      });
      return "";
    }
  };
  read("token");
  const ca = read("ca.crt");
  const namespace = read("namespace");
  if (problems.length > 0) return { ok: false, problems };
  return {
    ok: true,
    access: {
      server: new URL(`https://${host?.includes(":") ? `[${host}]` : host}:${port}`),
      ca,
      readCa: () => readFileSync(join(folder, "ca.crt"), "utf8"),
      insecureSkipTlsVerify: false,
      credentials: tokenFile(join(folder, "token")),
      namespace: namespace || "default",
    },
  };
}
