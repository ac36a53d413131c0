import type { Kysely } from "kysely";

import { type Backend, explained, inTransaction } from "./backend.ts";
import { messageOf, StoreError } from "./errors.ts";
import type { HeldTable, Tables } from "./tables.ts";

/** Rows per statement: databases bound the number of parameters. */
const ROWS_PER_STATEMENT = 200;

const TOPIC = "trials";

/** How a trial stands, or how it ended. */
export type TrialState = "trial" | "published" | "refused" | "late";

const states: readonly TrialState[] = ["trial", "published", "refused", "late"];

/** The newest trial of a gateway group. */
export interface TrialRow {
  readonly gatewayGroup: string;
  readonly state: TrialState;
  /** The replica whose data plane tries it. */
  readonly holder: string;
  readonly node: string;
  /** The first revision since what is published. */
  readonly first: bigint;
  /** The newest revision that is tried. */
  readonly last: bigint;
  /** Why it is held back; empty if it isn't. */
  readonly why: string;
}

/** What is published under a name of which a newer version is held; null: nothing. */
export interface PublishedResource {
  readonly typeUrl: string;
  readonly name: string;
  readonly bytes: Uint8Array | null;
}

/**
 * What becomes of revisions that one data plane tries before the others: which of the replicas has it tried, how that ended, and what is
 * published in place of what is held, so that a control plane that starts publishes that and no more.
 */
export class TrialRows {
  readonly #backend: Backend;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Every gateway group's trial, and what is published of what it holds. @throws StoreError */
  async load(): Promise<readonly (TrialRow & { readonly published: readonly PublishedResource[] })[]> {
    return await explained(this.#backend, async (db) => {
      const rows = await db.selectFrom("sluice_trials").selectAll().execute();
      const held = await db.selectFrom("sluice_held").selectAll().execute();
      const byGroup = Map.groupBy(held, ({ gateway_group }) => gateway_group);
      return rows.map((row) => ({
        ...rowOf(row),
        published: (byGroup.get(row.gateway_group) ?? []).map((held) => this.#open(held)),
      }));
    });
  }

  /** A gateway group's trial. @throws StoreError */
  async read(gatewayGroup: string): Promise<TrialRow | undefined> {
    return await explained(this.#backend, (db) => find(db, gatewayGroup));
  }

  /**
   * Begins a trial, unless another replica has one under way, or has had one of the same revisions.
   *
   * @param published what is published of what is held
   * @param isLive whether a replica may still end its trial
   * @returns the trial that counts: the one given, or another replica's
   * @throws StoreError
   */
  async begin(
    trial: Omit<TrialRow, "state" | "why">,
    published: readonly PublishedResource[],
    isLive: (holder: string) => boolean,
  ): Promise<TrialRow> {
    return await inTransaction(this.#backend, async (tx) => {
      await this.#backend.lock(tx);
      const { gatewayGroup, holder } = trial;
      const before = await find(tx, gatewayGroup);
      if (before !== undefined && before.holder !== holder) {
        if (before.state === "trial" ? isLive(before.holder) : before.last >= trial.last) return before;
      }
      const begun: TrialRow = { ...trial, state: "trial", why: "" };
      await put(tx, begun);
      await tx.deleteFrom("sluice_held").where("gateway_group", "=", gatewayGroup).execute();
      const rows = published.map((each) => this.#seal(gatewayGroup, each));
      for (const some of pages(rows)) await tx.insertInto("sluice_held").values(some).execute();
      await this.#backend.hint(tx, TOPIC);
      return begun;
    });
  }

  /**
   * A trial that a replica began has ended. What was held, and is published now, is forgotten.
   *
   * @returns the trial that counts: the one given, or, if that replica stood still meanwhile, what another one has made of it
   * @throws StoreError
   */
  async end(trial: TrialRow): Promise<TrialRow> {
    return await inTransaction(this.#backend, async (tx) => {
      await this.#backend.lock(tx);
      const before = await find(tx, trial.gatewayGroup);
      if (before !== undefined && before.holder !== trial.holder && before.last >= trial.last) return before;
      await this.#conclude(tx, trial);
      return trial;
    });
  }

  /** Something was decided without a trial, or one that nobody will end any more. As `end`. @throws StoreError */
  async settle(trial: TrialRow): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      await this.#backend.lock(tx);
      const before = await find(tx, trial.gatewayGroup);
      // Another replica has gone on without this one.
      if (before !== undefined && before.holder !== trial.holder && before.last > trial.last) return;
      await this.#conclude(tx, trial);
    });
  }

  /** The gateway group is gone. @throws StoreError */
  async drop(gatewayGroup: string): Promise<void> {
    await inTransaction(this.#backend, async (tx) => {
      await tx.deleteFrom("sluice_trials").where("gateway_group", "=", gatewayGroup).execute();
      await tx.deleteFrom("sluice_held").where("gateway_group", "=", gatewayGroup).execute();
    });
  }

  /** Calls `onChange` whenever another replica may have begun or ended a trial. Returns how to stop. */
  follow(onChange: () => void): () => Promise<void> {
    return this.#backend.followHints(async (topics) => {
      if (topics.size === 0 || topics.has(TOPIC)) onChange();
    });
  }

  async #conclude(tx: Kysely<Tables>, trial: TrialRow): Promise<void> {
    await put(tx, trial);
    if (trial.state === "published") {
      await tx.deleteFrom("sluice_held").where("gateway_group", "=", trial.gatewayGroup).execute();
    }
    await this.#backend.hint(tx, TOPIC);
  }

  /** It may be a certificate's key, or hold a collector's token. */
  #seal(gatewayGroup: string, { typeUrl, name, bytes }: PublishedResource): HeldTable {
    const key = { gateway_group: gatewayGroup, type_url: typeUrl, name };
    return { ...key, bytes: bytes && this.#backend.secrets.sealBytes(bytes, ownerOf(key)) };
  }

  /** @throws StoreError "corrupt" */
  #open({ bytes, ...key }: HeldTable): PublishedResource {
    const { type_url: typeUrl, name } = key;
    try {
      return { typeUrl, name, bytes: bytes && this.#backend.secrets.openBytes(bytes, ownerOf(key)) };
    } catch (error) {
      throw new StoreError("corrupt", `${this.#backend.where}: ${messageOf(error)}`);
    }
  }
}

const ownerOf = ({ gateway_group, type_url, name }: Omit<HeldTable, "bytes">) =>
  `the published ${type_url} ${name} of gateway group ${gateway_group}`;

async function find(db: Kysely<Tables>, gatewayGroup: string): Promise<TrialRow | undefined> {
  const row = await db
    .selectFrom("sluice_trials")
    .selectAll()
    .where("gateway_group", "=", gatewayGroup)
    .executeTakeFirst();
  return row && rowOf(row);
}

async function put(db: Kysely<Tables>, { gatewayGroup, state, holder, node, first, last, why }: TrialRow) {
  const row = { state, holder, node, first_revision: Number(first), last_revision: Number(last), why };
  await db
    .insertInto("sluice_trials")
    .values({ gateway_group: gatewayGroup, ...row })
    .onConflict((conflict) => conflict.column("gateway_group").doUpdateSet(row))
    .execute();
}

function rowOf(
  row: Omit<TrialRow, "gatewayGroup" | "first" | "last" | "state"> & {
    readonly gateway_group: string;
    readonly state: string;
    readonly first_revision: number;
    readonly last_revision: number;
  },
): TrialRow {
  const { gateway_group: gatewayGroup, holder, node, why } = row;
  // A state of a later version is none of ours: what it held is published.
  const state = states.find((each) => each === row.state) ?? "published";
  return { gatewayGroup, state, holder, node, why, first: BigInt(row.first_revision), last: BigInt(row.last_revision) };
}

function* pages(rows: readonly HeldTable[]): Iterable<HeldTable[]> {
  for (let at = 0; at < rows.length; at += ROWS_PER_STATEMENT) yield rows.slice(at, at + ROWS_PER_STATEMENT);
}
