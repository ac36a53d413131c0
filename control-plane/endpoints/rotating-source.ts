import { type Registry, RegistrySchema } from "#sluice/model/v1/registry_pb.ts";
import type { ServiceKey, ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import type { Source } from "../../discovery/source.ts";
import { secretsIn } from "../model/secrets.ts";
import { resolveSecret } from "./secret.ts";

/** A source with the secrets that it was opened with. */
interface Opened {
  readonly source: Source;
  /** The secrets' texts, in the order of their fields. */
  readonly secrets: readonly string[];
  /** Aborted when other secrets have taken their place. */
  readonly replaced: AbortController;
}

/**
 * A source that is opened when it is first asked, and anew when a secret of its registry that lies in a file or a variable has changed:
 * with each probe, which is every few seconds, they are looked at. Secrets that can't be read any more change nothing, as long as those
 * in use are good. A source that can't be opened says so each time.
 */
export class RotatingSource implements Source {
  readonly #registry: Registry;
  readonly #open: () => Source;
  #opened: Opened | undefined;

  constructor(registry: Registry, open: () => Source) {
    this.#registry = registry;
    this.#open = open;
  }

  async *watch(service: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    let isFirstSource = true;
    while (!signal.aborted) {
      const { source, replaced } = this.#current();
      let isFirst = !isFirstSource;
      for await (const snapshot of source.watch(service, AbortSignal.any([signal, replaced.signal]))) {
        // Other credentials may see less than those before.
        if (isFirst) snapshot.discontinuous = true;
        yield snapshot;
        isFirst = false;
      }
      if (!replaced.signal.aborted) return;
      isFirstSource = false;
    }
  }

  async list(signal: AbortSignal) {
    return await this.#current().source.list(signal);
  }

  async probe(signal: AbortSignal) {
    this.#rotate();
    return await this.#current().source.probe(signal);
  }

  async close(): Promise<void> {
    await this.#opened?.source.close();
  }

  /** @throws DiscoveryError "bad_settings" */
  #current(): Opened {
    return (this.#opened ??= { secrets: this.#secrets(), source: this.#open(), replaced: new AbortController() });
  }

  #rotate(): void {
    const opened = this.#opened;
    if (opened === undefined) return;
    const now = this.#readable();
    if (now === undefined || now.every((secret, at) => secret === opened.secrets[at])) return;
    this.#opened = undefined;
    opened.replaced.abort();
    // Its watches have ended; what it throws on its way out nobody needs.
    void opened.source.close().catch(() => undefined);
  }

  #readable(): readonly string[] | undefined {
    try {
      return this.#secrets();
    } catch {
      return undefined;
    }
  }

  #secrets(): readonly string[] {
    return secretsIn(RegistrySchema, this.#registry).map(({ path, secret }) => resolveSecret(secret, path) ?? "");
  }
}
