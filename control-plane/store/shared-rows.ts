import { randomInt } from "node:crypto";

import { sql } from "kysely";

import { type Backend, explained, inTransaction } from "./backend.ts";

/** A service's snapshot is split into rows of so many bytes at most. */
const CHUNK_BYTES = 1024 * 1024;
const ROWS_PER_STATEMENT = 100;

/** Hints that name what changed, where that is little enough. */
const TOPIC = "endpoints";
const NAMED_MAX = 50;
const NAMED_BYTES_MAX = 4_000;
/** Below 2^48, which randomInt asks for. */
const VERSION_MAX = 2 ** 47;

/** A service of a registry, as the keys of rows. */
export interface SharedKey {
  readonly registry: string;
  readonly service: string;
}

/** What is served of a service. */
export interface SharedRow extends SharedKey {
  /** Another one after each write. */
  readonly version: number;
  readonly bytes: Uint8Array;
}

/** Who watches a registry, and what they say of it. */
export interface WatcherRow {
  readonly registry: string;
  readonly holder: string;
  readonly info: string;
}

/** What the replicas on one PostgreSQL share of discovery: who watches which registry, and what was found. */
export class SharedRows {
  readonly #backend: Backend;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Whether there are other replicas to share with. */
  get isShared(): boolean {
    return this.#backend.kind === "postgres";
  }

  /**
   * Takes or keeps registries for `ttlMs`, each unless somebody else has it.
   * @returns who has which registry now
   * @throws StoreError
   */
  async claim(
    wanted: readonly { readonly registry: string; readonly info: string }[],
    holder: string,
    ttlMs: number,
  ): Promise<readonly WatcherRow[]> {
    return await inTransaction(this.#backend, async (tx) => {
      const nowMs = await this.#backend.nowMs(tx);
      const expire_time = nowMs + ttlMs;
      // By name, so that replicas wait for each other in one order.
      for (const some of pages(wanted.toSorted((a, b) => (a.registry < b.registry ? -1 : 1)))) {
        await tx
          .insertInto("sluice_watchers")
          .values(some.map(({ registry, info }) => ({ registry, info, holder, expire_time })))
          .onConflict((conflict) =>
            conflict
              .column("registry")
              .doUpdateSet((eb) => ({
                holder: eb.ref("excluded.holder"),
                info: eb.ref("excluded.info"),
                expire_time: eb.ref("excluded.expire_time"),
              }))
              .where((eb) =>
                eb.or([eb("sluice_watchers.holder", "=", holder), eb("sluice_watchers.expire_time", "<", nowMs)]),
              ),
          )
          .execute();
      }
      return await tx.selectFrom("sluice_watchers").select(["registry", "holder", "info"]).execute();
    });
  }

  /** Gives up all registries that `holder` has. @throws StoreError */
  async release(holder: string): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      await tx.deleteFrom("sluice_watchers").where("holder", "=", holder).execute();
    });
  }

  /**
   * A registry was deleted: with it all that was found there. But not what another replica finds under that name, which may be
   * another registry by now: whoever is late must not delete it.
   * @returns false: another replica watches it, and is to drop it itself
   * @throws StoreError
   */
  async drop(registry: string, holder: string): Promise<boolean> {
    return await inTransaction(this.#backend, async (tx) => {
      const nowMs = await this.#backend.nowMs(tx);
      const { rows } = await sql`select holder from sluice_watchers where registry = ${registry}
        and holder <> ${holder} and expire_time >= ${nowMs} for share`.execute(tx);
      if (rows.length > 0) return false;
      await tx.deleteFrom("sluice_watchers").where("registry", "=", registry).execute();
      await tx.deleteFrom("sluice_endpoints").where("registry", "=", registry).execute();
      await this.#backend.hint(tx, TOPIC);
      return true;
    });
  }

  /** The version of everything that was found. @throws StoreError */
  async index(): Promise<readonly (SharedKey & { readonly version: number })[]> {
    return await explained(this.#backend, (db) =>
      db.selectFrom("sluice_endpoints").select(["registry", "service", "version"]).where("chunk", "=", 0).execute(),
    );
  }

  /** What was found of some services, whole; what isn't there is left out. @throws StoreError */
  async read(keys: readonly SharedKey[]): Promise<readonly SharedRow[]> {
    return await explained(this.#backend, async (db) => {
      const found: SharedRow[] = [];
      for (const some of pages(keys)) {
        const chunks = await db
          .selectFrom("sluice_endpoints")
          .selectAll()
          .where((eb) => eb.or(some.map(({ registry, service }) => eb.and({ registry, service }))))
          .orderBy("chunk")
          .execute();
        for (const rows of Map.groupBy(chunks, keyText).values()) {
          const [first] = rows;
          if (first === undefined) continue;
          const { registry, service, version } = first;
          found.push({ registry, service, version, bytes: Buffer.concat(rows.map(({ bytes }) => bytes)) });
        }
      }
      return found;
    });
  }

  /**
   * Writes what was found and what is no longer wanted, in one transaction, as far as `holder` still has the registries: one that was
   * stopped and goes on must not overwrite what its successor found.
   * @throws StoreError
   */
  async write(
    holder: string,
    puts: readonly (SharedKey & { readonly bytes: Uint8Array })[],
    gone: readonly SharedKey[],
  ): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      // By name, as they are claimed meanwhile: in another order both might wait for each other.
      const locked = sql<{ registry: string }>`select registry from sluice_watchers where holder = ${holder}
        order by registry collate "C" for share`;
      const held = new Set((await locked.execute(tx)).rows.map(({ registry }) => registry));
      const all = [...puts, ...gone].filter(({ registry }) => held.has(registry));
      for (const some of pages(all)) {
        await tx
          .deleteFrom("sluice_endpoints")
          .where((eb) => eb.or(some.map(({ registry, service }) => eb.and({ registry, service }))))
          .execute();
      }
      const rows = puts.filter(({ registry }) => held.has(registry)).flatMap(toChunks);
      for (const row of rows) await tx.insertInto("sluice_endpoints").values(row).execute();
      for (const topic of topicsOf(all)) await this.#backend.hint(tx, topic);
    });
  }

  /** Calls `onChange` with what another replica may have written; with undefined if that may be anything. Returns how to stop. */
  follow(onChange: (keys: readonly SharedKey[] | undefined) => Promise<void>): () => Promise<void> {
    return this.#backend.followHints(async (topics) => {
      const ours = [...topics].filter((topic) => topic === TOPIC || topic.startsWith(`${TOPIC} `));
      if (topics.size > 0 && ours.length === 0) return;
      const isAnything = topics.size === 0 || ours.includes(TOPIC);
      const keys = isAnything ? undefined : ours.map((topic) => JSON.parse(topic.slice(TOPIC.length)) as SharedKey);
      await explained(this.#backend, () => onChange(keys));
    });
  }
}

function toChunks({ registry, service, bytes }: SharedKey & { readonly bytes: Uint8Array }) {
  const version = randomInt(VERSION_MAX);
  const count = Math.max(1, Math.ceil(bytes.length / CHUNK_BYTES));
  return Array.from({ length: count }, (_, chunk) => ({
    ...{ registry, service, chunk, version },
    bytes: bytes.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES),
  }));
}

function topicsOf(keys: readonly SharedKey[]): string[] {
  if (keys.length === 0) return [];
  const named = keys.map(({ registry, service }) => `${TOPIC} ${JSON.stringify({ registry, service })}`);
  const fits = named.length <= NAMED_MAX && named.every((topic) => Buffer.byteLength(topic) <= NAMED_BYTES_MAX);
  return fits ? named : [TOPIC];
}

const keyText = ({ registry, service }: SharedKey) => JSON.stringify([registry, service]);

function* pages<Item>(items: readonly Item[]): Iterable<Item[]> {
  for (let at = 0; at < items.length; at += ROWS_PER_STATEMENT) yield items.slice(at, at + ROWS_PER_STATEMENT);
}
