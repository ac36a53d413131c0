import type { Logger } from "pino";

import type { ResourceCache } from "./cache.ts";
import type { Candidates } from "./candidates.ts";
import type { ConnectedClients } from "./connected-clients.ts";
import type { FirstSyncs } from "./first-sync.ts";
import type { JoinGuard } from "./join.ts";
import type { XdsLimits } from "./limits.ts";
import type { XdsMetrics } from "./metrics.ts";
import type { Publications } from "./publications.ts";
import type { NodeRegistry } from "./status.ts";
import type { Turns } from "./turns.ts";

/** What all streams of a server share. */
export interface StreamContext {
  readonly cache: ResourceCache;
  readonly candidates: Candidates;
  readonly nodes: NodeRegistry;
  readonly clients: ConnectedClients;
  readonly publications: Publications;
  readonly log: Logger;
  readonly metrics: XdsMetrics;
  readonly limits: XdsLimits;
  readonly join: JoinGuard;
  readonly firstSyncs: FirstSyncs;
  readonly turns: Turns;
  /** Milliseconds since the epoch, never going back. */
  readonly now: () => number;
}
