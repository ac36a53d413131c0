import { type Peers, replicaName } from "../peers/peers.ts";
import type { PublishedResource, TrialRow, TrialRows } from "../store/trial-rows.ts";
import type { ResourceUpdate } from "../xds/cache.ts";
import type { NodeRegistry, NodeStatus } from "../xds/status.ts";

/** Where trials are kept, and what is known of the other control planes on the store. */
export interface TrialPlace {
  readonly rows: Pick<TrialRows, "load" | "read" | "begin" | "end" | "settle" | "drop" | "follow">;
  /** This control plane's name in them. */
  readonly self: string;
  /** Whether a control plane may still end the trial that it began. */
  readonly isLive: (holder: string) => boolean;
  /** Whether a data plane of the gateway group that could try something is connected to another control plane, or may be. */
  readonly nodesElsewhere: (group: string) => Promise<boolean>;
}

/** The question to other control planes for data planes of a gateway group that could try something. */
const HAS_NODE = "sluice.rollout/HasNode";

/** @param peers undefined: there are no other control planes on the store */
export function trialPlace(rows: TrialPlace["rows"], nodes: NodeRegistry, peers: Peers | undefined): TrialPlace {
  const self = peers?.self ?? replicaName();
  peers?.serve(HAS_NODE, async (group) => {
    const node = chooseNode(nodes, Buffer.from(group).toString("utf8"), undefined);
    return Buffer.of(node === undefined ? 0 : 1);
  });
  return {
    rows,
    self,
    isLive: (holder) => holder === self || (peers?.others.includes(holder) ?? false),
    async nodesElsewhere(group) {
      if (peers === undefined) return false;
      const { answers, silent } = await peers.ask(HAS_NODE, Buffer.from(group));
      return silent.length > 0 || answers.some(([has]) => has === 1);
    },
  };
}

const ranks: readonly NodeStatus["state"][] = ["synced", "stale", "nacked"];

/** The data plane to try something: the one that tried last, while it is well; else the first by id of those that are, or that are there at all. */
export function chooseNode(nodes: NodeRegistry, group: string, last: string | undefined): string | undefined {
  const rank = ({ id, state }: NodeStatus) => ranks.indexOf(state) * 2 + (id === last ? 0 : 1);
  const [first] = nodes
    .list()
    .filter(({ gatewayGroup, state }) => gatewayGroup === group && ranks.includes(state))
    .sort((a, b) => rank(a) - rank(b));
  return first?.id;
}

/** How another control plane's trial of these revisions, or newer ones, has ended; undefined if there was none. */
export const verdictIn = (row: TrialRow | undefined, self: string, last: bigint): TrialRow | undefined =>
  row !== undefined && row.state !== "trial" && row.holder !== self && row.last >= last ? row : undefined;

/**
 * What data planes are to have of a translation while newer versions of some names are held.
 *
 * @param newest the whole translation
 * @param published of the names that are held
 * @returns both, by name: what is published, and the newest of what is held
 */
export function splitHeld(
  newest: readonly ResourceUpdate[],
  published: readonly PublishedResource[],
): { readonly published: readonly ResourceUpdate[]; readonly held: readonly ResourceUpdate[] } {
  const keyOf = ({ typeUrl, name }: Pick<ResourceUpdate, "typeUrl" | "name">) => `${typeUrl} ${name}`;
  const places = new Map(published.map((each) => [keyOf(each), each]));
  const held = new Map(newest.filter((each) => places.has(keyOf(each))).map((each) => [keyOf(each), each]));
  return {
    published: [
      ...newest.filter((each) => !places.has(keyOf(each))),
      ...published.filter(({ bytes }) => bytes !== null),
    ],
    held: [...places].map(([key, { typeUrl, name }]) => held.get(key) ?? { typeUrl, name, bytes: null }),
  };
}
