/** What staging knows of a gateway group of which something is not published. */
import type { TrialRow } from "../store/trial-rows.ts";
import type { HeldUpdates } from "./held.ts";
import type { RolloutPolicy } from "./policy.ts";
import type { RolloutRecord } from "./record.ts";

/** A rollout that is neither published nor held back yet. */
export interface Open {
  readonly record: RolloutRecord;
  readonly policy: RolloutPolicy;
  /** The data plane of this control plane that tries it; undefined before, and while another control plane has it tried. */
  nodeId: string | undefined;
  /** That one had its time to answer. */
  isOverdue: boolean;
  /** How it ended, which is being written down. */
  isEnding: boolean;
}

/** A gateway group of which something is not published. */
export interface Held {
  readonly updates: HeldUpdates;
  /** The first revision since what is published. */
  readonly first: bigint;
  open: Open | undefined;
  /** How the last trial ended. */
  failure: "none" | "refused" | "late";
  timer: NodeJS.Timeout | undefined;
  /** It was held when this control plane started: whoever could try it is still to come. */
  readonly isRestored: boolean;
}

/** How a trial ends. */
export type Ending = Pick<TrialRow, "state" | "why">;
