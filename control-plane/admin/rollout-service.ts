import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import { type Rollout, RolloutSchema, type RolloutService, RolloutState } from "#sluice/admin/v1/rollout_service_pb.ts";

import type { Rollouts } from "../rollout/tracker.ts";
import type { Store } from "../store/store.ts";
import type { NodeRegistry } from "../xds/status.ts";
import type { Deliver } from "./deliver.ts";
import { groupRolloutMessage } from "./rollout-messages.ts";
import { Wake } from "./wake.ts";

/** Rollouts that may be watched at once. */
const WATCHES_MAX = 1_000;
const LIST_LIMIT = 100;

/** A watcher is told no more often than this. */
const PAUSE_MS = 50;

/** What rollouts are told from. */
export interface RolloutSources {
  readonly rollouts: Rollouts;
  readonly nodes: NodeRegistry;
  readonly store: Store;
}

/** How revisions reach data planes. */
export function rolloutService(sources: RolloutSources, deliver: Deliver): ServiceImpl<typeof RolloutService> {
  const { rollouts } = sources;
  let watches = 0;
  return {
    getRollout: ({ revision }) => ({ rollout: rolloutOf(sources, revision) }),

    listRollouts({ gatewayGroup, limit }) {
      const all = rollouts.list(gatewayGroup || undefined).toSorted((a, b) => b.startMs - a.startMs);
      return { rollouts: all.slice(0, limit || LIST_LIMIT).map(groupRolloutMessage) };
    },

    async *watchRollout({ revision }, context) {
      const { signal } = context;
      if (watches >= WATCHES_MAX) {
        throw new ConnectError(`${watches} rollouts are watched already; try again later`, Code.ResourceExhausted);
      }
      watches++;
      const wake = new Wake(signal);
      const stop = rollouts.onChange(() => wake.now());
      try {
        for (;;) {
          const rollout = rolloutOf(sources, revision);
          yield* deliver({ rollout }, context);
          if (isOver(rollout)) return;
          // A slow watcher costs no queue: it is told how things are when it is ready to hear.
          await wake.wait(PAUSE_MS);
          signal.throwIfAborted();
        }
      } finally {
        stop();
        wake.close();
        watches--;
      }
    },
  };
}

/** The worst comes last; whatever is not over makes the whole not over. */
const ORDER: readonly RolloutState[] = [
  RolloutState.COMPLETE,
  RolloutState.REFUSED,
  RolloutState.HELD_BACK,
  RolloutState.IN_PROGRESS,
  RolloutState.TRIAL,
  RolloutState.PENDING,
];

const isOver = ({ state }: Rollout) => ORDER.indexOf(state) < ORDER.indexOf(RolloutState.IN_PROGRESS);

/** @throws ConnectError OUT_OF_RANGE for a revision that isn't there yet, NOT_FOUND for one of which nothing is known any more */
function rolloutOf({ rollouts, nodes, store }: RolloutSources, revision: bigint): Rollout {
  const newest = store.state.revision;
  if (revision > newest) {
    throw new ConnectError(`the store is at revision ${newest}; there is no ${revision} yet`, Code.OutOfRange);
  }
  if (revision > rollouts.published) return create(RolloutSchema, { revision, state: RolloutState.PENDING });
  const groups = rollouts
    .list()
    .filter(({ revisions: { first, last } }) => first <= revision && revision <= last)
    .map(groupRolloutMessage);
  if (groups.length === 0) {
    const why = "it was rolled out before this control plane started, or too long ago";
    throw new ConnectError(`nothing is known of the rollout of revision ${revision}: ${why}`, Code.NotFound);
  }
  const state = ORDER[Math.max(...groups.map((group) => ORDER.indexOf(group.state)))] ?? RolloutState.COMPLETE;
  const names = new Set(groups.map(({ gatewayGroup }) => gatewayGroup));
  const connectedNodes = nodes.connectedIn(names);
  return create(RolloutSchema, { revision, state, groups, connectedNodes });
}
