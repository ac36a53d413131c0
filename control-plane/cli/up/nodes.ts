import { setTimeout as sleep } from "node:timers/promises";

import { NodeState, type ProxyNode } from "#sluice/admin/v1/status_service_pb.ts";

import type { AdminClient } from "../client.ts";
import { printable, type Terminal } from "../terminal.ts";

const POLL_MS = 50;
const WATCH_MS = 1_000;

/** Data planes of one `up` are few; more of them are for `sluice status`. */
const PAGE_SIZE = 100;

/** Waits until a data plane runs its configuration or has refused it; undefined if it does neither within `waitMsMax`. */
export async function waitForNode(
  { status }: Pick<AdminClient, "status">,
  id: string,
  waitMsMax: number,
  signal: AbortSignal,
): Promise<ProxyNode | undefined> {
  const untilMs = performance.now() + waitMsMax;
  while (!signal.aborted && performance.now() < untilMs) {
    const { nodes } = await status.listNodes({ pageSize: PAGE_SIZE });
    const node = nodes.find((candidate) => candidate.id === id);
    // A synced node without resources has connected only just now.
    const settled =
      node?.state === NodeState.NACKED ||
      node?.state === NodeState.UNKNOWN_GROUP ||
      (node?.state === NodeState.SYNCED && node.types.some(({ resources }) => resources > 0));
    if (settled) return node;
    await sleep(POLL_MS, undefined, { signal }).catch(() => {});
  }
  return undefined;
}

/** Prints each new refusal of a configuration by a data plane, until `signal`. */
export async function printRefusals(
  { status }: Pick<AdminClient, "status">,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  let printed = new Set<string>();
  while (!signal.aborted) {
    // While the control plane restarts, there is nothing to tell.
    const { nodes } = await status.listNodes({ pageSize: PAGE_SIZE }, { signal }).catch(() => ({ nodes: [] }));
    const refusals = nodes.flatMap(refusalsOf);
    for (const refusal of refusals) {
      if (!printed.has(refusal)) terminal.err(`${terminal.styleError("red", "✗")} ${refusal}`);
    }
    if (nodes.length > 0) printed = new Set(refusals);
    await sleep(WATCH_MS, undefined, { signal }).catch(() => {});
  }
}

/** What a data plane refuses, a line for each resource type, and what else is wrong with it. */
export function refusalsOf({ id, types, problems }: ProxyNode): string[] {
  return [
    ...types
      .filter(({ nack }) => nack !== "")
      .map(({ typeUrl, nack }) => `${printable(id)} refused ${typeUrl.split(".").at(-1)}: ${printable(nack)}`),
    ...problems.map((problem) => `${printable(id)}: ${printable(problem)}`),
  ];
}
