import { type Registry, RegistrySchema } from "#sluice/model/v1/registry_pb.ts";
import type { ServiceKey, ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import type { Source } from "../../discovery/source.ts";
import { secretsIn } from "../model/secrets.ts";
import { resolveSecret } from "./secret.ts";
import { withoutSecrets } from "./without-secrets.ts";

/** A source with the secrets that it was opened with. */
interface Opened {
  readonly source: Source;
  /** The secrets' texts, in the order of their fields. */
  readonly secrets: readonly string[];
  /** Its watches, each to be ended when other secrets have taken their place. */
  readonly watches: Set<AbortController>;
  isReplaced: boolean;
}

/**
 * A source that is opened when it is first asked, and anew when a secret of its registry that lies in a file or a variable has changed:
 * with each probe, which is every few seconds, they are looked at. Secrets that can't be read any more change nothing, as long as those
 * in use are good. A source that can't be opened says so each time. None of them is in what it throws.
 */
export class RotatingSource implements Source {
  readonly #registry: Registry;
  readonly #open: () => Source;
  /** Whether a secret lies where it may change without the registry's object. */
  readonly #canRotate: boolean;
  #opened: Opened | undefined;
  #mended: () => void = () => {};

  constructor(registry: Registry, open: () => Source) {
    this.#registry = registry;
    this.#canRotate = secretsIn(RegistrySchema, registry).some(
      ({ secret: { source } }) => source.case === "file" || source.case === "env",
    );
    this.#open = open;
  }

  /** @throws DiscoveryError "bad_settings" */
  watch(service: ServiceKey, signal: AbortSignal): AsyncIterable<ServiceSnapshot> {
    if (this.#canRotate) return this.#watchAll(service, signal);
    // Thousands of watches have a frame less each: what is thrown is told by `explain`.
    return this.#current().source.watch(service, signal);
  }

  onMended(tell: () => void): void {
    this.#mended = tell;
  }

  explain(error: unknown): unknown {
    return withoutSecrets(error, this.#opened?.secrets ?? []);
  }

  async *#watchAll(service: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    let isFirstSource = true;
    while (!signal.aborted) {
      const opened = this.#current();
      // Rather than AbortSignal.any, whose weak references thousands of watches pay for with each collection of garbage.
      const watch = new AbortController();
      const abort = () => watch.abort();
      opened.watches.add(watch);
      signal.addEventListener("abort", abort);
      let isFirst = !isFirstSource;
      try {
        for await (const snapshot of opened.source.watch(service, watch.signal)) {
          // Other credentials may see less than those before.
          if (isFirst) snapshot.discontinuous = true;
          yield snapshot;
          isFirst = false;
        }
      } catch (error) {
        // What a source says when it is replaced is no failure of the registry.
        if (!opened.isReplaced) throw withoutSecrets(error, opened.secrets);
      } finally {
        signal.removeEventListener("abort", abort);
        opened.watches.delete(watch);
      }
      if (!opened.isReplaced) return;
      isFirstSource = false;
    }
  }

  async list(signal: AbortSignal) {
    return await this.#ask((source) => source.list(signal));
  }

  async probe(signal: AbortSignal) {
    this.#rotate();
    return await this.#ask((source) => source.probe(signal));
  }

  async close(): Promise<void> {
    await this.#opened?.source.close();
  }

  async #ask<Answer>(question: (source: Source) => Promise<Answer>): Promise<Answer> {
    const { source, secrets } = this.#current();
    try {
      return await question(source);
    } catch (error) {
      throw withoutSecrets(error, secrets);
    }
  }

  /** @throws DiscoveryError "bad_settings" */
  #current(): Opened {
    if (this.#opened !== undefined) return this.#opened;
    const opened = {
      secrets: this.#secrets(),
      source: this.#open(),
      watches: new Set<AbortController>(),
      isReplaced: false,
    };
    opened.source.onMended?.(() => this.#mended());
    return (this.#opened = opened);
  }

  #rotate(): void {
    const opened = this.#opened;
    if (opened === undefined) return;
    const now = this.#readable();
    if (now === undefined || now.every((secret, at) => secret === opened.secrets[at])) return;
    this.#opened = undefined;
    opened.isReplaced = true;
    for (const watch of opened.watches) watch.abort();
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
