import { readFileSync } from "node:fs";

import type { RegistryTls } from "#sluice/model/v1/registry_pb.ts";
import type { SecretValue } from "#sluice/model/v1/secret_pb.ts";

import { DiscoveryError } from "../../discovery/source.ts";
import type { TlsSettings } from "../../discovery/tls.ts";

/**
 * The text of a secret; undefined if none is set. White space at its end is not part of it.
 * @param what names the secret in errors, which never show it
 * @throws DiscoveryError "bad_settings" if its variable or file isn't there
 */
export function resolveSecret(secret: SecretValue | undefined, what: string): string | undefined {
  const { source } = secret ?? {};
  switch (source?.case) {
    case undefined:
      return undefined;
    case "value":
      return source.value;
    case "env": {
      const text = process.env[source.value]?.trimEnd();
      if (text) return text;
      throw new DiscoveryError("bad_settings", `${what}: the control plane's environment has no ${source.value}`);
    }
    case "file":
      return readSecret(source.value, what);
    case "sealed":
      throw new DiscoveryError("bad_settings", `${what}: is encrypted with a key that the control plane doesn't have`);
    default:
      throw new DiscoveryError("bad_settings", `${what}: is of a kind that this version doesn't know`);
  }
}

function readSecret(file: string, what: string): string {
  try {
    return readFileSync(file, "utf8").trimEnd();
  } catch (error) {
    throw new DiscoveryError("bad_settings", `${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** TLS settings with the private key's text. @throws DiscoveryError "bad_settings" */
export function resolveTls(tls: RegistryTls | undefined, what: string): TlsSettings | undefined {
  if (tls === undefined) return undefined;
  return {
    ca: tls.caCertificates || undefined,
    cert: tls.certificateChain || undefined,
    key: resolveSecret(tls.privateKey, `${what}.privateKey`),
    serverName: tls.serverName || undefined,
    verify: tls.verify,
  };
}
