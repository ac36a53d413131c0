import { DiscoveryError } from "../../discovery/source.ts";
import { REDACTED } from "../model/secrets.ts";

/** Shorter ones would take half of the words away, and are no secrets. */
const LENGTH_MIN = 4;
/** What is secret in a kubeconfig, which is one as a whole. */
const KUBECONFIG_SECRETS = /\b(?:token|password|client-key-data)["']?\s*:\s*["']?([^\s"',}]+)/g;

/**
 * The same failure in words without the secrets that the registry was told: some servers, and most proxies before them, repeat what they
 * don't like.
 * @param secrets texts of the registry's secrets
 */
export function withoutSecrets(error: unknown, secrets: readonly string[]): unknown {
  if (!(error instanceof Error)) return error;
  let message = error.message;
  for (const secret of secrets.flatMap((text) => [text, ...partsOf(text)])) {
    if (secret.length < LENGTH_MIN) continue;
    message = message.replaceAll(secret, REDACTED).replaceAll(encodeURIComponent(secret), REDACTED);
  }
  if (message === error.message) return error;
  // Without a cause, which would have the words of before.
  return error instanceof DiscoveryError ? new DiscoveryError(error.kind, message) : new Error(message);
}

const partsOf = (text: string): string[] => [...text.matchAll(KUBECONFIG_SECRETS)].map(([, part = ""]) => part);
