import { durationMs } from "@bufbuild/protobuf/wkt";

import { type GatewayGroup, LateRevision, RefusedRevision } from "#sluice/model/v1/gateway_group_pb.ts";

/** How a gateway group publishes to one data plane first. */
export interface RolloutPolicy {
  readonly trialTimeoutMs: number;
  readonly onRefusal: "hold_back" | "roll_back";
  readonly onTimeout: "hold_back" | "roll_back" | "publish";
}

const TRIAL_TIMEOUT_MS_DEFAULT = 30_000;

const late: Record<LateRevision, RolloutPolicy["onTimeout"]> = {
  [LateRevision.UNSPECIFIED]: "hold_back",
  [LateRevision.HOLD_BACK]: "hold_back",
  [LateRevision.ROLL_BACK]: "roll_back",
  [LateRevision.PUBLISH]: "publish",
};

/** The rules of a gateway group, defaults filled in; undefined if all of its data planes get revisions at once. */
export function policyOf(group: GatewayGroup | undefined): RolloutPolicy | undefined {
  const { rollout } = group ?? {};
  if (rollout?.publishToOneFirst !== true) return undefined;
  const { trialTimeout, onRefusal, onTimeout } = rollout;
  return {
    trialTimeoutMs: trialTimeout === undefined ? TRIAL_TIMEOUT_MS_DEFAULT : durationMs(trialTimeout),
    onRefusal: onRefusal === RefusedRevision.ROLL_BACK ? "roll_back" : "hold_back",
    onTimeout: late[onTimeout] ?? "hold_back",
  };
}
