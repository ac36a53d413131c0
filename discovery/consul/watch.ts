import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import type { ServiceKey, ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { sleep } from "../backoff.ts";
import { HostNames } from "../host-names.ts";
import { DiscoveryError } from "../source.ts";
import type { ConsulAnswer, ConsulClient } from "./client.ts";
import { entriesOf, hostNamesOf, toSnapshot } from "./convert.ts";
import { queryOf } from "./query.ts";
import type { ConsulSettings } from "./settings.ts";

/** How long Consul may keep a question whose answer doesn't change; drawn anew each time, so that watches don't fall into step. */
const WAIT_S_MIN = 240;
const WAIT_S_MAX = 300;
/** Instances that are host names are looked up again so often. */
const WAIT_S_NAMES = 30;
/** Consul itself adds up to a 16th of the wait. */
const WAIT_MARGIN = 1.1;
const ANSWER_MS_MAX = 10_000;

/** Consul's indexes move for other services' sake too; so long at least between two questions. */
const INTERVAL_MS_MIN = 20;

/** Yields a service's instances now and whenever Consul says that something changed (blocking queries). */
export async function* watch(
  client: ConsulClient,
  settings: ConsulSettings,
  service: ServiceKey,
  signal: AbortSignal,
): AsyncGenerator<ServiceSnapshot> {
  const path = `/v1/health/service/${encodeURIComponent(service.service)}`;
  const passingOnly = settings.passingOnly ?? false;
  const hostNames = new HostNames();
  let index = 0;
  let hasNames = false;
  let discontinuous = false;
  while (!signal.aborted) {
    const askedMs = performance.now();
    const answer = await (index === 0
      ? client.askBlocking({ path, query: queryOf(settings, service), signal, timeoutMs: ANSWER_MS_MAX })
      : askAgain(client, path, settings, service, index, waitS(hasNames), signal));
    await refuseDenied(client, answer, service, signal);
    const entries = entriesOf(answer.body);
    const names = hostNamesOf(entries);
    hasNames = names.length > 0;
    const next = nextIndex(index, answer.index);
    // A wait that ran out: nothing changed, but Consul lives, and names may have other addresses now.
    const snapshot = toSnapshot(service, entries, await hostNames.resolve(names), { passingOnly });
    snapshot.revision = String(answer.index);
    snapshot.observeTime = timestampFromMs(Date.now());
    snapshot.discontinuous = discontinuous;
    // A service is nothing but its instances here; a filter may have hidden them.
    snapshot.unknownService = entries.length === 0 && !settings.filter;
    // An index that went back: this answer is taken with doubt already, and what follows starts over.
    if (next === 0) snapshot.discontinuous = true;
    yield snapshot;
    discontinuous = next === 0;
    index = next;
    await sleep(Math.max(0, INTERVAL_MS_MIN - (performance.now() - askedMs)), signal);
  }
}

/**
 * The index to wait for next (https://developer.hashicorp.com/consul/api-docs/features/blocking, "Implementation details"): one that
 * goes back means a restored Consul, so 0 to start over; one that isn't above 0 would make a busy loop, so at least 1.
 */
export function nextIndex(before: number, answered: number): number {
  if (answered < before) return 0;
  return Math.max(1, answered);
}

const waitS = (hasNames: boolean) =>
  hasNames ? WAIT_S_NAMES : Math.round(WAIT_S_MIN + Math.random() * (WAIT_S_MAX - WAIT_S_MIN));

async function askAgain(
  client: ConsulClient,
  path: string,
  settings: ConsulSettings,
  service: ServiceKey,
  index: number,
  wait: number,
  signal: AbortSignal,
): Promise<ConsulAnswer> {
  const query = { ...queryOf(settings, service), index: String(index), wait: `${wait}s` };
  return await client.askBlocking({ path, query, signal, timeoutMs: wait * 1000 * WAIT_MARGIN + ANSWER_MS_MAX });
}

/**
 * An answer without instances because the token may not see them is no empty service.
 * @throws DiscoveryError "permission_denied"
 */
async function refuseDenied(
  client: ConsulClient,
  { body, filteredByAcls }: ConsulAnswer,
  { service }: ServiceKey,
  signal: AbortSignal,
): Promise<void> {
  if (!Array.isArray(body) || body.length > 0) return;
  const denied = () =>
    new DiscoveryError(
      "permission_denied",
      `Consul: the token lacks service:read on "${service}", or node:read: ACLs filtered its instances out`,
    );
  if (filteredByAcls) throw denied();
  // Consul doesn't tell those who come without a token that there was more to see.
  if (!client.hasToken && !(await mayRead(client, service, signal))) throw denied();
}

/** Whether a caller without a token may see the service: asked as Consul's own UI does. */
async function mayRead(client: ConsulClient, service: string, signal: AbortSignal): Promise<boolean> {
  const post = [{ Resource: "service", Access: "read", Segment: service }];
  try {
    const path = "/v1/internal/acl/authorize";
    const { body } = await client.ask({ path, post, signal, timeoutMs: ANSWER_MS_MAX });
    const [answer] = Array.isArray(body) ? (body as unknown[]) : [];
    return !(typeof answer === "object" && answer !== null && "Allow" in answer && answer.Allow === false);
  } catch {
    // 401 where ACLs are switched off; whatever else it is doesn't concern the service.
    return true;
  }
}
