/**
 * What can be learnt of many services with few questions: which have checks that began or ceased to fail, which came or went, and which have
 * another number of instances or other nodes. None of it is an answer; it says whom to ask first. Where it fails, services wait for their turn, so that failures need no telling.
 */
import { sleep } from "../backoff.ts";
import type { ConsulClient } from "./client.ts";
import { queryOf } from "./query.ts";
import type { ConsulSettings } from "./settings.ts";
import { Summaries } from "./summaries.ts";
import { nextIndex } from "./watch.ts";

const ANSWER_MS_MAX = 10_000;
const WAIT_S = 240;
/** A list of all that fails, or of all names, need not be read more often. */
const INTERVAL_MS = 500;
const RETRY_MS = 5_000;
/** Summaries cost Consul more than all else that is asked here: so many times as long as one took, it has its rest. */
const SUMMARY_REST = 20;
/** Somebody may not have the right to see them, or a proxy in front of Consul may not let them through. */
const SUMMARY_RETRY_MS = 60_000;

/** Connections that `watchHints` holds. */
export const HINT_CONNECTIONS = 3;

/** Calls `hint` with the names of services that may have changed, until the signal is aborted. */
export async function watchHints(
  client: ConsulClient,
  settings: ConsulSettings,
  hint: (service: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const checks = async (state: string) => {
    for await (const changed of changes(client, settings, `/v1/health/state/${state}`, failingChecks, signal)) {
      for (const { node, service } of changed) {
        const services = service === "" ? await servicesOf(client, settings, node, signal) : [service];
        for (const each of services) hint(each);
      }
    }
  };
  let registered = Promise.withResolvers<void>();
  // The index of this list moves with every registration, also where the names stay the same.
  const names = async () => {
    for await (const changed of changes(client, settings, "/v1/catalog/services", serviceNames, signal)) {
      for (const { service } of changed) hint(service);
      registered.resolve();
    }
    registered.resolve();
  };
  const counts = async () => {
    const summaries = new Summaries(client, settings);
    while (!signal.aborted) {
      registered = Promise.withResolvers();
      const askedMs = performance.now();
      const changed = await summaries.changed(signal).catch(() => undefined);
      for (const service of changed ?? []) hint(service);
      const restMs = Math.max(INTERVAL_MS, (performance.now() - askedMs) * SUMMARY_REST);
      await sleep(changed === undefined ? SUMMARY_RETRY_MS : restMs, signal);
      await registered.promise;
    }
  };
  await Promise.all([checks("critical"), checks("warning"), names(), counts()]);
}

/** Something in a list that comes or goes. */
interface Item {
  readonly node: string;
  /** Empty: it concerns all services of the node. */
  readonly service: string;
}

/** What came and what went, each time that a list changes. */
async function* changes(
  client: ConsulClient,
  settings: ConsulSettings,
  path: string,
  read: (body: unknown) => ReadonlyMap<string, Item>,
  signal: AbortSignal,
): AsyncGenerator<readonly Item[]> {
  let index = 0;
  let before: ReadonlyMap<string, Item> | undefined;
  while (!signal.aborted) {
    const query = { ...queryOf(settings), ...(index > 0 && { index: String(index), wait: `${WAIT_S}s` }) };
    const timeoutMs = ANSWER_MS_MAX + (index > 0 ? WAIT_S * 1_100 : 0);
    const answer = await client
      .askBlocking({ path, query, signal, timeoutMs, knownIndex: index })
      .then(({ index: answered, body }) => ({ answered, now: body === undefined ? undefined : read(body) }))
      // Nor is it one if it can't be read.
      .catch(() => undefined);
    if (answer === undefined) {
      await sleep(RETRY_MS, signal);
      index = 0;
      continue;
    }
    index = nextIndex(index, answer.answered);
    if (answer.now === undefined) continue;
    if (before !== undefined) yield difference(before, answer.now);
    before = answer.now;
    await sleep(INTERVAL_MS, signal);
  }
}

function difference(before: ReadonlyMap<string, Item>, now: ReadonlyMap<string, Item>): Item[] {
  const came = [...now].filter(([key]) => !before.has(key));
  const went = [...before].filter(([key]) => !now.has(key));
  return [...came, ...went].map(([, item]) => item);
}

const textOf = (object: object, name: string): string => {
  const value = (object as Readonly<Record<string, unknown>>)[name];
  return typeof value === "string" ? value : "";
};

function failingChecks(body: unknown): ReadonlyMap<string, Item> {
  const checks = Array.isArray(body)
    ? (body as unknown[]).filter((check) => typeof check === "object" && check !== null)
    : [];
  return new Map(
    checks.map((check) => {
      const node = textOf(check, "Node");
      const key = [node, textOf(check, "ServiceID"), textOf(check, "CheckID")].join("\n");
      return [key, { node, service: textOf(check, "ServiceName") }];
    }),
  );
}

function serviceNames(body: unknown): ReadonlyMap<string, Item> {
  const names = typeof body === "object" && body !== null ? Object.entries(body) : [];
  return new Map(names.map(([service, tags]) => [`${service}\n${JSON.stringify(tags)}`, { node: "", service }]));
}

/** The services of a node; none if it can't be asked. */
async function servicesOf(
  client: ConsulClient,
  settings: ConsulSettings,
  node: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const path = `/v1/catalog/node/${encodeURIComponent(node)}`;
  const question = { path, query: queryOf(settings), signal, timeoutMs: ANSWER_MS_MAX };
  const { body } = await client.ask(question).catch(() => ({ body: undefined }));
  const services = typeof body === "object" && body !== null && "Services" in body ? body.Services : undefined;
  if (typeof services !== "object" || services === null) return [];
  return [...new Set(Object.values(services).map((each) => textOf(Object(each) as object, "Service")))];
}
