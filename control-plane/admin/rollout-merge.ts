/** What several control planes know of the same rollouts, as one. */
import { clone, create } from "@bufbuild/protobuf";
import { durationMs, timestampMs } from "@bufbuild/protobuf/wkt";

import {
  type GroupRollout,
  GroupRolloutSchema,
  type Rollout,
  RolloutSchema,
  RolloutState,
} from "#sluice/admin/v1/rollout_service_pb.ts";

/** The worst comes last; whatever is not over makes the whole not over. */
const ORDER: readonly RolloutState[] = [
  RolloutState.UNSPECIFIED,
  RolloutState.COMPLETE,
  RolloutState.REFUSED,
  RolloutState.HELD_BACK,
  RolloutState.IN_PROGRESS,
  RolloutState.TRIAL,
  RolloutState.PENDING,
];

const REFUSALS_MAX = 100;

/** Of these, the one that says least that all is done. UNSPECIFIED without any. */
export const worst = (states: readonly RolloutState[]): RolloutState =>
  states.reduce((a, b) => (ORDER.indexOf(a) < ORDER.indexOf(b) ? b : a), RolloutState.UNSPECIFIED);

/** Whether nothing more is waited for. */
export const isOver = ({ state }: Pick<Rollout, "state">): boolean =>
  ORDER.indexOf(state) < ORDER.indexOf(RolloutState.IN_PROGRESS);

/** @param silent control planes that live, but did not answer */
export function mergeRollouts(revision: bigint, parts: readonly Rollout[], silent: readonly string[]): Rollout {
  const states = parts.map(({ state }) => state);
  return create(RolloutSchema, {
    revision,
    state: worst(silent.length > 0 ? [...states, RolloutState.PENDING] : states),
    groups: mergeGroups(parts.flatMap(({ groups }) => groups)),
    connectedNodes: parts.reduce((sum, { connectedNodes }) => sum + connectedNodes, 0),
    silentControlPlanes: [...silent],
  });
}

/** Revisions that one control plane hands over together, another may hand over one by one: what overlaps is one rollout. */
export function mergeGroups(parts: readonly GroupRollout[]): GroupRollout[] {
  const merged: GroupRollout[] = [];
  for (const ofGroup of Map.groupBy(parts, ({ gatewayGroup }) => gatewayGroup).values()) {
    let last: GroupRollout | undefined;
    for (const part of ofGroup.toSorted((a, b) => Number(a.firstRevision - b.firstRevision))) {
      if (last !== undefined && part.firstRevision <= last.revision) {
        last = mergeTwo(last, part);
        merged[merged.length - 1] = last;
      } else merged.push((last = part));
    }
  }
  return merged;
}

function mergeTwo(a: GroupRollout, b: GroupRollout): GroupRollout {
  const merged = clone(GroupRolloutSchema, a.trialNode === "" ? b : a);
  merged.firstRevision = a.firstRevision;
  merged.revision = a.revision < b.revision ? b.revision : a.revision;
  merged.state = worst([a.state, b.state]);
  merged.resources = Math.max(a.resources, b.resources);
  for (const count of ["nodes", "sent", "accepted", "refused", "left"] as const) merged[count] = a[count] + b[count];
  merged.refusals = [...a.refusals, ...b.refusals].slice(0, REFUSALS_MAX);
  merged.heldBack = a.heldBack || b.heldBack;
  merged.rolledBackBy = a.rolledBackBy || b.rolledBackBy;
  const startTime = chosen(a.startTime, b.startTime, (x, y) => timestampMs(x) < timestampMs(y));
  if (startTime !== undefined) merged.startTime = startTime;
  const endTime = chosen(a.endTime, b.endTime, (x, y) => timestampMs(x) > timestampMs(y));
  if (a.endTime !== undefined && b.endTime !== undefined && endTime !== undefined) merged.endTime = endTime;
  else delete merged.endTime;
  for (const time of ["acceptTimeP50", "acceptTimeP99"] as const) {
    const longest = chosen(a[time], b[time], (x, y) => durationMs(x) > durationMs(y));
    if (longest !== undefined) merged[time] = longest;
  }
  return merged;
}

const chosen = <Value>(a: Value | undefined, b: Value | undefined, goesBefore: (a: Value, b: Value) => boolean) =>
  a === undefined || (b !== undefined && goesBefore(b, a)) ? b : a;
