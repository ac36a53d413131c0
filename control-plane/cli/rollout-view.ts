import { durationMs } from "@bufbuild/protobuf/wkt";

import {
  type GroupRollout,
  type RefusedObject,
  type Rollout,
  RolloutState,
} from "#sluice/admin/v1/rollout_service_pb.ts";

import type { GatewaySource } from "./gateway-source.ts";
import { kinds } from "./kinds.ts";
import { type Paint, printable } from "./terminal.ts";

const BAR_WIDTH = 24;

/** A line for each gateway group of a rollout: "prod   [####----]  15/20 accepted   18ms p50  61ms p99". */
export function progressLines({ groups, state }: Rollout, style: Paint): string[] {
  // Of several control planes, one may be ahead.
  if (state === RolloutState.PENDING && groups.length === 0)
    return [style("dim", "waiting for the control plane to translate it")];
  const width = Math.max(...groups.map(({ gatewayGroup }) => gatewayGroup.length));
  return groups.map(
    (group) => `${printable(group.gatewayGroup).padEnd(width)}  ${bar(group, style)}  ${counts(group)}`,
  );
}

/** The same in words alone, for what is no terminal. */
export const progressText = ({ groups }: Rollout): string[] =>
  groups.map((group) => `${printable(group.gatewayGroup)}: ${counts(group)}`);

function bar({ nodes, accepted, refused, state }: GroupRollout, style: Paint): string {
  const done = nodes === 0 && state === RolloutState.COMPLETE ? 1 : nodes === 0 ? 0 : accepted / nodes;
  const bad = nodes === 0 ? 0 : refused / nodes;
  const good = Math.floor(done * BAR_WIDTH);
  // A single refusal among thousands must be seen.
  const red = Math.min(BAR_WIDTH - good, Math.ceil(bad * BAR_WIDTH));
  const rest = "-".repeat(BAR_WIDTH - good - red);
  return `[${style("green", "#".repeat(good))}${style("red", "x".repeat(red))}${style("dim", rest)}]`;
}

function counts(group: GroupRollout): string {
  const { nodes, sent, accepted, refused, left, acceptTimeP50: p50, acceptTimeP99: p99 } = group;
  const words = [nodes === 0 ? "changes nothing for a data plane that is connected" : `${accepted}/${nodes} accepted`];
  if (sent > accepted + refused) words.push(`${sent - accepted - refused} to answer`);
  if (refused > 0) words.push(`${refused} refused`);
  if (left > 0) words.push(`${left} left`);
  if (group.state === RolloutState.TRIAL) words.push(`${printable(group.trialNode)} tries it first`);
  if (p50 !== undefined && p99 !== undefined) words.push(`${ms(p50)} p50  ${ms(p99)} p99`);
  return words.join("   ");
}

const ms = (duration: Parameters<typeof durationMs>[0]) => {
  const value = durationMs(duration);
  return value < 1000 ? `${Math.round(value)}ms` : `${(value / 1000).toFixed(1)}s`;
};

/** Of each gateway group its newest rollout. @param rollouts the newest first */
export function newestOfEach(rollouts: readonly GroupRollout[]): readonly GroupRollout[] {
  const newest = new Map<string, GroupRollout>();
  for (const each of rollouts) if (!newest.has(each.gatewayGroup)) newest.set(each.gatewayGroup, each);
  return [...newest.values()].sort((a, b) => (a.gatewayGroup < b.gatewayGroup ? -1 : 1));
}

const unfinished: ReadonlyMap<RolloutState, string> = new Map([
  [RolloutState.TRIAL, "on trial"],
  [RolloutState.IN_PROGRESS, "under way"],
  [RolloutState.REFUSED, "refused by data planes"],
  [RolloutState.HELD_BACK, "held back"],
]);

/** What not every data plane has: a line for each gateway group, and why. */
export function unfinishedLines(rollouts: readonly GroupRollout[], style: Paint): string[] {
  return rollouts.flatMap((group) => {
    const state = unfinished.get(group.state);
    if (state === undefined) return [];
    const color = group.state === RolloutState.TRIAL || group.state === RolloutState.IN_PROGRESS ? "yellow" : "red";
    const line = `${printable(group.gatewayGroup)}: revision ${group.revision} is ${state}: ${counts(group)}`;
    const reasons = reasonLines({ groups: [group] }, undefined);
    return [`${style(color, "!")} ${line}`, ...reasons.map((text) => `  ${style("red", "└─")} ${text}`)];
  });
}

/** Why data planes refused: a line for each resource and data plane, with what the user wrote and where. */
export function reasonLines({ groups }: Pick<Rollout, "groups">, source: GatewaySource | undefined): string[] {
  return groups.flatMap(({ gatewayGroup, refusals, heldBack, rolledBackBy }) => [
    ...refusals.flatMap(({ nodeId, resources }) =>
      resources.map(({ name, reason, objects }) => {
        const blamed = objects.map((object) => objectText(object, source)).join(", ");
        return printable(`${gatewayGroup}/${nodeId}: ${blamed === "" ? `resource ${name}` : blamed}: ${reason}`);
      }),
    ),
    ...(heldBack === "" ? [] : [printable(`${gatewayGroup}: ${heldBack}`)]),
    ...(rolledBackBy === 0n ? [] : [`${gatewayGroup}: revision ${rolledBackBy} took it back`]),
  ]);
}

/** An object that a refusal leads to, and its place where the user's files have it: "service orders routes[pay] (gateway.yaml:41)". */
export function objectText({ kind, gatewayGroup, name, field }: RefusedObject, source?: GatewaySource): string {
  const known = kinds.find(({ noun }) => noun === kind.replaceAll("_", "-"));
  const names: Record<string, string> = known?.kind === "gatewayGroup" ? { name } : { name, gatewayGroup };
  const position = known && source?.findPart(known.list, names, field);
  const words = `${kind.replaceAll("_", " ")} ${name}${field === "" ? "" : ` ${field}`}`;
  return position === undefined ? words : `${words} (${position.file}:${position.line})`;
}
