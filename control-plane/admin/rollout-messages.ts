import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";

import {
  type GroupRollout,
  GroupRolloutSchema,
  type RefusedObject,
  RefusedObjectSchema,
  type RefusedResource as RefusedResourceMessage,
  RefusedResourceSchema,
  RolloutState,
} from "#sluice/admin/v1/rollout_service_pb.ts";

import type { BlamedObject, RefusedResource } from "../rollout/blame.ts";
import type { RolloutRecord, RolloutState as State } from "../rollout/record.ts";

const states: Record<State, RolloutState> = {
  trial: RolloutState.TRIAL,
  in_progress: RolloutState.IN_PROGRESS,
  complete: RolloutState.COMPLETE,
  refused: RolloutState.REFUSED,
  held_back: RolloutState.HELD_BACK,
};

/** A rollout in one gateway group as the admin API tells it. */
export function groupRolloutMessage(record: RolloutRecord): GroupRollout {
  const { waiting, sent, accepted, refused, left } = record.counts();
  const { trial, rolledBackBy, endMs, startMs } = record;
  return create(GroupRolloutSchema, {
    gatewayGroup: record.group,
    firstRevision: record.revisions.first,
    revision: record.revisions.last,
    state: states[record.state],
    startTime: timestampFromMs(startMs),
    ...(endMs !== undefined && { endTime: timestampFromMs(endMs) }),
    resources: record.resources,
    nodes: waiting + sent + accepted + refused + left,
    sent: sent + accepted + refused,
    ...{ accepted, refused, left },
    acceptTimeP50: percentile(record.acceptedMs(), 0.5),
    acceptTimeP99: percentile(record.acceptedMs(), 0.99),
    refusals: record.refusals.map(({ nodeId, resources }) => ({ nodeId, resources: resources.map(refusedMessage) })),
    ...(trial && { trialNode: trial.nodeId, trialDeadline: timestampFromMs(trial.deadlineMs) }),
    heldBack: record.heldBack,
    ...(rolledBackBy !== undefined && { rolledBackBy }),
  });
}

/** A refused resource as the admin API tells it. */
export const refusedMessage = ({ typeUrl, name, reason, objects }: RefusedResource): RefusedResourceMessage =>
  create(RefusedResourceSchema, {
    ...{ typeUrl, name, reason },
    objects: objects.map(objectMessage),
  });

/** What the operator wrote, as the admin API names it. */
export const objectMessage = ({ kind, gatewayGroup, name, field }: BlamedObject): RefusedObject =>
  create(RefusedObjectSchema, { kind, gatewayGroup, name, field });

/** The value below which this share of sorted values lies; undefined of none. */
function percentile(sortedMs: readonly number[], share: number) {
  const value = sortedMs[Math.max(0, Math.ceil(sortedMs.length * share) - 1)];
  return value === undefined ? undefined : durationFromMs(value);
}
