/** What the control plane knows of each data plane: connected now, or lately. */
import type { Outstanding, Refusal, ResourceStatus } from "./delivery.ts";

export type { Outstanding, Refusal, ResourceState, ResourceStatus } from "./delivery.ts";

/**
 * How a data plane stands (proto `sluice.admin.v1.NodeState`): `synced` has accepted all that is meant for it; `stale` has a response under
 * way; `nacked` refused its newest response of some type and runs its last good configuration; `unknown_group` names a gateway group that
 * doesn't exist and gets nothing.
 */
export type NodeState = "synced" | "stale" | "nacked" | "disconnected" | "unknown_group";

/** One resource type of one data plane. Times are milliseconds since the epoch. */
export interface TypeStatus {
  readonly typeUrl: string;
  /** Of all resources of the type, as last sent; empty before the first. */
  readonly sentVersion: string;
  /** Of all resources of the type, as last accepted; empty before the first. */
  readonly acceptedVersion: string;
  /** How many resources the data plane has been sent and not been told to drop. */
  readonly resources: number;
  /** Whether something is under way: sent and not answered yet, or waiting to be sent. */
  readonly pending: boolean;
  /** Why it refused the newest response; empty if it didn't. */
  readonly nack: string;
  readonly lastAckTimeMs: number | undefined;
  readonly lastNackTimeMs: number | undefined;
  /** Names it asked for that don't exist, the first hundred. */
  readonly missing: readonly string[];
  /** Resources that it refused, and runs in the version before, with its reasons; also those of earlier responses. */
  readonly refusals: ReadonlyMap<string, string>;
}

/** Who a data plane says it is, in the first request of its stream. */
export interface NodeIdentity {
  /** `node.id`. */
  readonly id: string;
  /** `node.cluster`, or "default" where that is empty. */
  readonly gatewayGroup: string;
  /** "native", "envoy", or `node.user_agent_name`. */
  readonly kind: string;
  /** Of the data plane's program; may be empty. */
  readonly version: string;
  /** The peer of its newest stream. */
  readonly address: string;
}

/** A data plane as the control plane sees it. Times are milliseconds since the epoch. */
export interface NodeStatus extends NodeIdentity {
  readonly state: NodeState;
  readonly connectTimeMs: number;
  /** When it last accepted a response. */
  readonly lastSyncTimeMs: number | undefined;
  /** When its last stream ended; undefined while it is connected. */
  readonly disconnectTimeMs: number | undefined;
  /** In the order of pushes. */
  readonly types: readonly TypeStatus[];
  /** What else is wrong with it, as sentences. */
  readonly problems: readonly string[];
}

/** What one stream says of itself when asked. */
export interface StreamReport {
  readonly groupExists: boolean;
  readonly types: readonly TypeStatus[];
  readonly problems: readonly string[];
}

/** A stream of a data plane, as the registry asks it. */
export interface ConnectedStream {
  report(): StreamReport;
  /** What of publications it has not been sent, or not answered. */
  outstanding(): Outstanding;
  /** @param typeUrl undefined: of all types */
  resources(typeUrl: string | undefined): Iterable<ResourceStatus>;
  /** Its data plane has accepted clusters on another stream. */
  clustersAccepted?(names: ReadonlySet<string>): void;
}

/** Who follows what becomes of single data planes, as it happens. Neither method may throw. */
export interface NodeListener {
  /**
   * It has come, something of it has changed, or it has gone.
   * @param outstanding is to be asked at once, if at all; undefined: nothing is known of it
   */
  nodeChanged(node: NodeIdentity, outstanding: () => Outstanding | undefined): void;
  /** It refused a response; `nodeChanged` follows. @returns what the operator wrote that is refused by that, in words */
  nodeRefused(node: NodeIdentity, refusal: Refusal): readonly string[];
}

/** A stream's hold on its entry in the registry. */
export interface NodeConnection {
  /** Says that the next report will differ. */
  changed(): void;
  /** The data plane refused a response. @returns what the operator wrote that is refused by that, in words */
  refused(refusal: Refusal): readonly string[];
  /** The data plane accepted clusters on this stream, which its other streams may have the endpoints of. */
  clustersAccepted(names: ReadonlySet<string>): void;
  /** The stream has ended; the entry keeps its last report. */
  close(): void;
}

interface Entry {
  identity: NodeIdentity;
  /** In the order in which the streams came. */
  readonly streams: Set<ConnectedStream>;
  connectTimeMs: number;
  lastSyncTimeMs: number | undefined;
  disconnectTimeMs: number | undefined;
  /** Of the last stream, at its end. */
  last: StreamReport;
  /** For listeners: asked for at each step of each data plane. */
  readonly outstanding: () => Outstanding | undefined;
}

const nothing: StreamReport = { groupExists: true, types: [], problems: [] };

export interface NodeRegistryOptions {
  /** Milliseconds since the epoch. Default: Date.now. */
  readonly now?: () => number;
  /** How long a data plane is remembered after its last stream. Default: 2 hours. */
  readonly keepDisconnectedMs?: number;
  /** Of those disconnected, how many are remembered. Default: 10,000. */
  readonly disconnectedNodesMax?: number;
}

/** All data planes that are connected, and those that were lately. */
export class NodeRegistry {
  readonly #now: () => number;
  readonly #keepDisconnectedMs: number;
  readonly #disconnectedNodesMax: number;
  readonly #connected = new Map<string, Entry>();
  /** By the time of their leaving, the earliest first. */
  readonly #gone = new Map<string, Entry>();
  readonly #listeners = new Set<() => void>();
  #nodeListeners: readonly NodeListener[] = [];
  #generation = 0;
  #tellScheduled = false;

  constructor(options: NodeRegistryOptions = {}) {
    this.#now = options.now ?? Date.now;
    this.#keepDisconnectedMs = options.keepDisconnectedMs ?? 2 * 3_600_000;
    this.#disconnectedNodesMax = options.disconnectedNodesMax ?? 10_000;
  }

  /** Grows whenever `list()` may answer otherwise. */
  get generation(): number {
    return this.#generation;
  }

  get connectedNodes(): number {
    return this.#connected.size;
  }

  /** Connected data planes of this id, one of a gateway group. */
  connected(id: string): NodeIdentity[] {
    return [...this.#connected.values()].map(({ identity }) => identity).filter((identity) => identity.id === id);
  }

  /** How many data planes of these gateway groups are connected. */
  connectedIn(groups: ReadonlySet<string>): number {
    let count = 0;
    for (const { identity } of this.#connected.values()) if (groups.has(identity.gatewayGroup)) count++;
    return count;
  }

  /** Calls back after changes, at most once for each turn of the event loop. Returns what ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Follows every single change. Returns what ends it. */
  onNode(listener: NodeListener): () => void {
    this.#nodeListeners = [...this.#nodeListeners, listener];
    return () => {
      this.#nodeListeners = this.#nodeListeners.filter((each) => each !== listener);
    };
  }

  /** How many streams a data plane has. */
  streams(identity: Pick<NodeIdentity, "id" | "gatewayGroup">): number {
    return this.#connected.get(keyOf(identity))?.streams.size ?? 0;
  }

  /** A stream has named its node. It is asked whenever somebody wants to see the node. */
  connect(identity: NodeIdentity, stream: ConnectedStream): NodeConnection {
    const key = keyOf(identity);
    let entry = this.#connected.get(key);
    if (entry === undefined) {
      const lastSyncTimeMs = this.#gone.get(key)?.lastSyncTimeMs;
      this.#gone.delete(key);
      const connectTimeMs = this.#now();
      const streams = new Set<ConnectedStream>();
      const outstanding = () => outstandingOf(streams);
      const since = { connectTimeMs, lastSyncTimeMs, disconnectTimeMs: undefined };
      entry = { identity, streams, ...since, last: nothing, outstanding };
      this.#connected.set(key, entry);
    }
    entry.identity = identity;
    entry.streams.add(stream);
    const held = entry;
    this.#changed(held);
    return {
      changed: () => this.#changed(held),
      refused: (refusal) => this.#nodeListeners.flatMap((listener) => listener.nodeRefused(held.identity, refusal)),
      clustersAccepted(names) {
        for (const other of held.streams) if (other !== stream) other.clustersAccepted?.(names);
      },
      close: () => this.#close(key, held, stream),
    };
  }

  /** The resources of a connected data plane, type by type; undefined if it isn't connected. @param typeUrl undefined: all types */
  resources(
    identity: Pick<NodeIdentity, "id" | "gatewayGroup">,
    typeUrl?: string,
  ): readonly ResourceStatus[] | undefined {
    const entry = this.#connected.get(keyOf(identity));
    return entry && [...entry.streams].flatMap((stream) => [...stream.resources(typeUrl)]);
  }

  /** By gateway group and node id. */
  list(): NodeStatus[] {
    this.#forget();
    return [...this.#connected.values(), ...this.#gone.values()]
      .map(statusOf)
      .sort((a, b) => compare(a.gatewayGroup, b.gatewayGroup) || compare(a.id, b.id));
  }

  #close(key: string, entry: Entry, stream: ConnectedStream): void {
    if (!entry.streams.has(stream)) return;
    const last = merge(entry);
    entry.streams.delete(stream);
    if (entry.streams.size === 0) {
      entry.last = last;
      entry.lastSyncTimeMs = lastSync(entry, last);
      entry.disconnectTimeMs = this.#now();
      this.#connected.delete(key);
      this.#gone.set(key, entry);
      this.#forget();
    }
    this.#changed(entry);
  }

  #forget(): void {
    const before = this.#now() - this.#keepDisconnectedMs;
    for (const [key, entry] of this.#gone) {
      const tooOld = entry.disconnectTimeMs === undefined || entry.disconnectTimeMs < before;
      if (!tooOld && this.#gone.size <= this.#disconnectedNodesMax) return;
      this.#gone.delete(key);
    }
  }

  #changed(entry: Entry): void {
    this.#generation++;
    for (const listener of this.#nodeListeners) listener.nodeChanged(entry.identity, entry.outstanding);
    if (this.#tellScheduled || this.#listeners.size === 0) return;
    this.#tellScheduled = true;
    setImmediate(() => {
      this.#tellScheduled = false;
      for (const listener of this.#listeners) listener();
    });
  }
}

// Neither a node id nor a group may hold a NUL (the stream refuses control characters), so no two nodes share a key.
const keyOf = ({ gatewayGroup, id }: Pick<NodeIdentity, "id" | "gatewayGroup">) => `${gatewayGroup}\0${id}`;

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** What all streams of a node say; of a type that several carry, the newest stream's word. */
function merge(entry: Entry): StreamReport {
  if (entry.streams.size === 0) return entry.last;
  const types = new Map<string, TypeStatus>();
  const problems = new Set<string>();
  let groupExists = true;
  for (const stream of entry.streams) {
    const { types: ofStream, problems: told, groupExists: exists } = stream.report();
    for (const type of ofStream) types.set(type.typeUrl, type);
    for (const problem of told) problems.add(problem);
    groupExists = exists;
  }
  return { groupExists, types: [...types.values()], problems: [...problems] };
}

function outstandingOf(streams: ReadonlySet<ConnectedStream>): Outstanding | undefined {
  if (streams.size === 0) return undefined;
  let [unsent, unanswered] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (const stream of streams) {
    const ofStream = stream.outstanding();
    unsent = Math.min(unsent, ofStream.unsent);
    unanswered = Math.min(unanswered, ofStream.unanswered);
  }
  return { unsent, unanswered };
}

function lastSync(entry: Entry, report: StreamReport): number | undefined {
  let last = entry.lastSyncTimeMs;
  for (const { lastAckTimeMs } of report.types) {
    if (lastAckTimeMs !== undefined && (last === undefined || lastAckTimeMs > last)) last = lastAckTimeMs;
  }
  return last;
}

function stateOf(entry: Entry, report: StreamReport): NodeState {
  if (entry.disconnectTimeMs !== undefined) return "disconnected";
  if (!report.groupExists) return "unknown_group";
  // A refusal says more than that something newer is under way.
  if (report.types.some(({ nack, refusals }) => nack !== "" || refusals.size > 0)) return "nacked";
  return report.types.length === 0 || report.types.some((type) => type.pending) ? "stale" : "synced";
}

function statusOf(entry: Entry): NodeStatus {
  const report = merge(entry);
  return {
    ...entry.identity,
    state: stateOf(entry, report),
    connectTimeMs: entry.connectTimeMs,
    lastSyncTimeMs: lastSync(entry, report),
    disconnectTimeMs: entry.disconnectTimeMs,
    types: report.types,
    problems: report.problems,
  };
}
