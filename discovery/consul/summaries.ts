import { hash } from "node:crypto";

import { turn } from "../turns.ts";
import type { ConsulClient } from "./client.ts";
import { queryOf } from "./query.ts";
import type { ConsulSettings } from "./settings.ts";

const ANSWER_MS_MAX = 30_000;
/** Looked at in one go. */
const PIECE = 1_000;

/**
 * A line about each service in one answer: how many instances it has, on which nodes, and how many of their checks pass. Consul's own UI
 * lives on it (/v1/internal/ui/services); nothing else says in one answer that an instance without a failing check came or went. What it
 * doesn't show: an instance that is replaced by another one on the same node, and one whose address, port, weight or metadata change.
 */
export class Summaries {
  readonly #client: ConsulClient;
  readonly #settings: ConsulSettings;
  #before: ReadonlyMap<string, string> | undefined;

  constructor(client: ConsulClient, settings: ConsulSettings) {
    this.#client = client;
    this.#settings = settings;
  }

  /** Names of the services that changed since the last call; none from the first. @throws DiscoveryError */
  async changed(signal: AbortSignal): Promise<string[]> {
    const question = { path: "/v1/internal/ui/services", query: queryOf(this.#settings), signal };
    const { body } = await this.#client.ask({ ...question, timeoutMs: ANSWER_MS_MAX });
    const before = this.#before;
    const now = await digests(body);
    this.#before = now;
    if (before === undefined) return [];
    const came = [...now].filter(([service, digest]) => before.get(service) !== digest);
    const went = [...before].filter(([service]) => !now.has(service));
    return [...came, ...went].map(([service]) => service);
  }
}

/** What is read of a service's line. */
interface Summary {
  readonly Name: string;
  readonly Nodes?: readonly string[] | null;
  readonly InstanceCount?: number;
  readonly ChecksPassing?: number;
  readonly ChecksWarning?: number;
  readonly ChecksCritical?: number;
}

/** Each service's line, as short as it gets. */
async function digests(body: unknown): Promise<ReadonlyMap<string, string>> {
  const summaries = Array.isArray(body) ? (body as unknown[]).filter(isSummary) : [];
  const found = new Map<string, string>();
  for (let from = 0; from < summaries.length; from += PIECE) {
    await turn();
    for (const { Name, Nodes, InstanceCount, ChecksPassing, ChecksWarning, ChecksCritical } of summaries.slice(
      from,
      from + PIECE,
    )) {
      const nodes = [...(Nodes ?? [])].sort();
      const said = JSON.stringify([InstanceCount, ChecksPassing, ChecksWarning, ChecksCritical, nodes]);
      found.set(Name, hash("sha1", said, "base64"));
    }
  }
  return found;
}

const isSummary = (each: unknown): each is Summary =>
  typeof each === "object" && each !== null && "Name" in each && typeof each.Name === "string";
