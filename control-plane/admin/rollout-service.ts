import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import {
  GetRolloutRequestSchema,
  GetRolloutResponseSchema,
  type GroupRollout,
  ListRolloutsResponseSchema,
  type Rollout,
  RolloutSchema,
  RolloutService,
  RolloutState,
} from "#sluice/admin/v1/rollout_service_pb.ts";

import type { Peers } from "../peers/peers.ts";
import type { Rollouts } from "../rollout/tracker.ts";
import type { Store } from "../store/store.ts";
import type { NodeRegistry } from "../xds/status.ts";
import { answerPeers, askPeers } from "./ask-peers.ts";
import type { Deliver } from "./deliver.ts";
import { isOver, mergeGroups, mergeRollouts, worst } from "./rollout-merge.ts";
import { groupRolloutMessage } from "./rollout-messages.ts";
import { Wake } from "./wake.ts";

/** Rollouts that may be watched at once. */
const WATCHES_MAX = 1_000;
const LIST_LIMIT = 100;

/** A watcher is told no more often than this. */
const PAUSE_MS = 50;

/** While other control planes are asked, they are asked again so often. */
const PEERS_PAUSE_MS = 500;

/** What rollouts are told from. */
export interface RolloutSources {
  readonly rollouts: Rollouts;
  readonly nodes: NodeRegistry;
  readonly store: Store;
  /** The other control planes on the store. Default: none. */
  readonly peers?: Peers | undefined;
}

const { getRollout, listRollouts } = RolloutService.method;

/** How revisions reach data planes. */
export function rolloutService(sources: RolloutSources, deliver: Deliver): ServiceImpl<typeof RolloutService> {
  const { rollouts, peers } = sources;
  answerPeers(peers, getRollout, ({ revision }) =>
    create(GetRolloutResponseSchema, { rollout: ownRollout(sources, revision) }),
  );
  answerPeers(peers, listRollouts, ({ gatewayGroup }) =>
    create(ListRolloutsResponseSchema, { rollouts: rollouts.list(gatewayGroup || undefined).map(groupRolloutMessage) }),
  );
  let watches = 0;
  return {
    getRollout: async ({ revision }) => ({ rollout: await rolloutOf(sources, revision) }),

    async listRollouts(request) {
      const { gatewayGroup, limit } = request;
      const { answers } = await askPeers(peers, listRollouts, request);
      const own = rollouts.list(gatewayGroup || undefined).map(groupRolloutMessage);
      const all = mergeGroups([...own, ...answers.flatMap((answer) => answer.rollouts)]);
      const startMs = ({ startTime }: GroupRollout) => (startTime === undefined ? 0 : timestampMs(startTime));
      return { rollouts: all.toSorted((a, b) => startMs(b) - startMs(a)).slice(0, limit || LIST_LIMIT) };
    },

    async *watchRollout({ revision }, context) {
      const { signal } = context;
      if (watches >= WATCHES_MAX) {
        throw new ConnectError(`${watches} rollouts are watched already; try again later`, Code.ResourceExhausted);
      }
      watches++;
      const wake = new Wake(signal);
      const stop = rollouts.onChange(() => wake.now());
      // Others tell nothing by themselves.
      const again = setInterval(() => peers !== undefined && peers.others.length > 0 && wake.now(), PEERS_PAUSE_MS);
      try {
        for (;;) {
          const rollout = await rolloutOf(sources, revision);
          yield* deliver({ rollout }, context);
          if (isOver(rollout)) return;
          // A slow watcher costs no queue: it is told how things are when it is ready to hear.
          await wake.wait(PAUSE_MS);
          signal.throwIfAborted();
        }
      } finally {
        clearInterval(again);
        stop();
        wake.close();
        watches--;
      }
    },
  };
}

/**
 * How a rollout stands on all control planes.
 *
 * @throws ConnectError OUT_OF_RANGE for a revision that isn't there yet, NOT_FOUND for one of which nothing is known any more
 */
async function rolloutOf(sources: RolloutSources, revision: bigint): Promise<Rollout> {
  const newest = sources.store.state.revision;
  if (revision > newest) {
    throw new ConnectError(`the store is at revision ${newest}; there is no ${revision} yet`, Code.OutOfRange);
  }
  const { answers, silent } = await askPeers(sources.peers, getRollout, create(GetRolloutRequestSchema, { revision }));
  const told = answers.flatMap(({ rollout }) => (rollout === undefined ? [] : [rollout]));
  const rollout = mergeRollouts(revision, [ownRollout(sources, revision), ...told], silent);
  if (rollout.state === RolloutState.UNSPECIFIED) {
    const why = "it was rolled out before this control plane started, or too long ago";
    throw new ConnectError(`nothing is known of the rollout of revision ${revision}: ${why}`, Code.NotFound);
  }
  return rollout;
}

/** How a rollout stands on this control plane. UNSPECIFIED where nothing is known of it any more. */
function ownRollout({ rollouts, nodes }: RolloutSources, revision: bigint): Rollout {
  if (revision > rollouts.published) return create(RolloutSchema, { revision, state: RolloutState.PENDING });
  const groups = rollouts
    .list()
    .filter(({ revisions: { first, last } }) => first <= revision && revision <= last)
    .map(groupRolloutMessage);
  const names = new Set(groups.map(({ gatewayGroup }) => gatewayGroup));
  const connectedNodes = nodes.connectedIn(names);
  return create(RolloutSchema, { revision, state: worst(groups.map(({ state }) => state)), groups, connectedNodes });
}
