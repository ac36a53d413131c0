import type { Logger } from "pino";

import type { DeltaDiscoveryResponse, Resource as WireResource } from "#envoy/service/discovery/v3/discovery_pb.ts";
import { type ResourceType, resourceType, resourceTypeByUrl, resourceTypes } from "#proto/resource-types.ts";

import type { Problem } from "../compile.ts";
import { type Decoder, decodeResource, errorDetail, type Refusal } from "./decode.ts";
import { Graph, type Resource, type ResourceUpdate, WARMING_MS_MAX } from "./graph.ts";
import { KnownShapes } from "./known-shapes.ts";
import { refusedListeners } from "./listeners.ts";
import { referencesOf } from "./references.ts";
import { keepsBytes, undecoded } from "./resource.ts";
import type { StoredResource } from "./snapshot.ts";
import type { Conversation } from "./stream.ts";
import { type Request, Subscriptions } from "./subscriptions.ts";
import { UpdateCounts } from "./update-counts.ts";

/** The last attempt to change a resource that was refused; shown by the admin endpoint until one is accepted. */
export interface RefusedVersion {
  readonly version: string;
  readonly details: string;
  /** Wall clock, ms since 1970. */
  readonly attemptMs: number;
}

/** What is named by others comes after them: a name that nobody needs is not taken. */
const RESTORE_ORDER = [
  "CDS",
  "EDS",
  "LDS",
  "SDS",
  "RDS",
  "VHDS",
] as const satisfies readonly ResourceType["shortName"][];

/** Refused names remembered per type; a control plane that invents names must not fill our memory. */
const REFUSED_MAX = 1000;

export interface ConfigurationOptions {
  readonly decoder: Decoder;
  /** Takes what the data path shall change, in order. Until it is fulfilled, the response that brought it is not answered. */
  readonly apply: (updates: readonly ResourceUpdate[]) => Promise<void> | undefined;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  /** Addresses ("host:port", IPv6 in brackets) that a former process of ours has open: they are no stranger's. */
  readonly ours?: ReadonlySet<string>;
}

/**
 * The proxy's configuration as a conversation with a control plane: judges what comes, answers it, keeps what is whole in use, and
 * remembers what was refused. What was in use stays in use whatever happens to the control plane (rule W8).
 */
export class Configuration implements Conversation {
  readonly #options: ConfigurationOptions;
  /** What was sent and what became of it. */
  readonly updates = new UpdateCounts();
  readonly #graph = new Graph();
  readonly #shapes = new KnownShapes();
  readonly #subscriptions = new Subscriptions();
  readonly #refused = new Map(resourceTypes.map(({ typeUrl }) => [typeUrl, new Map<string, RefusedVersion>()]));
  /** Types of which a response came on the present stream, and ever. */
  readonly #answered = new Set<string>();
  readonly #everAnswered = new Set<string>();
  #send: ((request: Request) => void) | undefined;
  /** What is to be asked for behind the answer to the response that is being handled; undefined while there is none. */
  #asking: Request[] | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #everAnsweredSinceMs = Number.POSITIVE_INFINITY;
  #restored = false;
  #lost = false;
  #listening: (() => void)[] = [];

  constructor(options: ConfigurationOptions) {
    this.#options = options;
  }

  /**
   * Whether the proxy has its configuration: the one it kept on disk, or all of the first one that its control plane sent, as far as
   * that can be had (Envoy's server state LIVE).
   */
  get live(): boolean {
    if (this.#restored) return true;
    if (!this.#everAnswered.has(resourceType("CDS").typeUrl)) return false;
    if (!this.#everAnswered.has(resourceType("LDS").typeUrl)) return false;
    const waiting = resourceTypes.some((type) => this.#graph.waiting(type).length > 0);
    return !waiting || performance.now() - this.#everAnsweredSinceMs >= WARMING_MS_MAX;
  }

  /** Whether a control plane has answered since the start. */
  get answered(): boolean {
    return this.#everAnswered.size > 0;
  }

  /** Whether a control plane is talking to us. */
  get connected(): boolean {
    return this.#send !== undefined && this.#answered.size > 0;
  }

  /** The resources of a type that the data path uses. */
  active(type: ResourceType): ReadonlyMap<string, Resource> {
    return this.#graph.active(type);
  }

  /** Of each type, what was refused last and nothing accepted since, by name. */
  refused(type: ResourceType): ReadonlyMap<string, RefusedVersion> {
    return this.#refused.get(type.typeUrl) ?? new Map();
  }

  /** Names that wait for others before they can be used. */
  waiting(type: ResourceType): readonly string[] {
    return this.#graph.waiting(type);
  }

  /** Everything in use, for a worker that starts. */
  all(): ResourceUpdate[] {
    return this.#graph.all();
  }

  /** Everything in use at the moment, for the disk; it may be read later. */
  stored(): Iterable<StoredResource> {
    const all = resourceTypes.map(({ typeUrl, shortName }) => ({
      typeUrl,
      resources: [...this.#graph.active(resourceType(shortName)).values()],
    }));
    return (function* () {
      for (const { typeUrl, resources } of all)
        for (const { name, version, bytes } of resources) yield { typeUrl, name, version, bytes };
    })();
  }

  /** One resource for the disk; undefined: it is not in use. */
  storedOf(typeUrl: string, name: string): StoredResource | undefined {
    const type = resourceTypeByUrl.get(typeUrl);
    const resource = type && this.#graph.active(type).get(name);
    return resource && { typeUrl, name, version: resource.version, bytes: resource.bytes };
  }

  /** Calls back after each change of the configuration or of what {@link live}, {@link connected} and {@link refused} tell. */
  onChange(listener: () => void): void {
    this.#listening.push(listener);
  }

  /**
   * Starts from the configuration on disk. What can no longer be used (judged by a newer version of the proxy, or a port that is taken)
   * is left out and told in the log; the control plane is asked for it anew.
   */
  async restore(resources: readonly StoredResource[]): Promise<void> {
    for (const type of RESTORE_ORDER.map(resourceType)) {
      const own = resources.filter(({ typeUrl }) => typeUrl === type.typeUrl);
      const refusals = await this.#take(type, own, new Set());
      if (refusals.length > 0)
        this.#options.log.error({ reason: errorDetail(type, refusals) }, "left out of the snapshot");
    }
    this.#restored = true;
    this.#graph.virtualHostsCame();
    // What is on disk was in use as it is: nothing to wait for.
    void this.#settle(0);
  }

  opened(send: (request: Request) => void): void {
    this.#send = send;
    this.#answered.clear();
    for (const request of this.#subscriptions.open()) send(request);
  }

  closed(reason: string | undefined): void {
    const wasConnected = this.connected;
    this.#send = undefined;
    this.#asking = undefined;
    this.#subscriptions.close();
    if (!this.#lost && reason !== undefined) {
      this.#lost = true;
      const what = wasConnected
        ? "control plane lost; what is configured goes on"
        : "control plane not reached; trying on";
      this.#options.log.warn({ reason }, what);
    }
    this.#changed();
  }

  async handle(response: DeltaDiscoveryResponse): Promise<void> {
    const type = resourceTypeByUrl.get(response.typeUrl);
    if (type === undefined) {
      const problem = `the type ${JSON.stringify(response.typeUrl)} was not asked for`;
      this.#send?.(this.#subscriptions.answer(response.typeUrl, response.nonce, problem));
      return;
    }
    const connecting = this.#answered.size === 0;
    this.#answered.add(type.typeUrl);
    if (!this.#everAnswered.has(type.typeUrl) && type.shortName === "LDS")
      this.#everAnsweredSinceMs = performance.now();
    this.#everAnswered.add(type.typeUrl);
    if (connecting) {
      this.#lost = false;
      this.#options.log.info(
        { controlPlane: response.controlPlane?.identifier || undefined },
        "connected to the control plane",
      );
    }

    // Rule S4: the answer first, then the wishes that follow from it.
    this.#asking = [];
    if (type.shortName === "VHDS") this.#graph.virtualHostsCame();
    const refusals = await this.#take(type, unwrap(type, response.resources), new Set(response.removedResources));
    for (const name of response.removedResources) {
      this.#graph.remove(type, name);
      this.#subscriptions.forget(type.typeUrl, name);
      this.#refused.get(type.typeUrl)?.delete(name);
    }
    const nack = refusals.length === 0 ? undefined : errorDetail(type, refusals);
    this.updates.answered(type, nack === undefined);
    if (nack !== undefined) {
      this.#options.log.warn({ reason: nack }, "refused; what was there before goes on");
      this.#remember(type, response, refusals);
    }
    // Whoever is told that it is accepted takes it to be served: what is ready for that is in use first, as Envoy's clusters are warm.
    await this.#settle();
    this.#send?.(this.#subscriptions.answer(type.typeUrl, response.nonce, nack));
    const asking = this.#asking;
    this.#asking = undefined;
    for (const request of asking) this.#send?.(request);
  }

  /** Stops the clock. */
  close(): void {
    clearTimeout(this.#deadline);
  }

  /** Judges resources of one type and puts the good ones into the graph; the others stay as they were. */
  async #take(
    type: ResourceType,
    resources: Iterable<StoredResource | Refusal>,
    removed: ReadonlySet<string>,
  ): Promise<Refusal[]> {
    const refusals: Refusal[] = [];
    // Whether a listener can have its address is known only once all are there. Of everything else one is decoded at a time: ten thousand virtual
    // hosts as messages are several times what the proxy keeps of them.
    const listeners: Resource[] = [];
    for (const stored of resources) {
      const judged = "problems" in stored ? stored : this.#judge(type, stored);
      if (judged === undefined) continue;
      if ("problems" in judged) refusals.push(judged);
      else if (type.shortName === "LDS") listeners.push(judged);
      else this.#put(type, judged);
    }
    const unbound = listeners.length === 0 ? undefined : await this.#unbindable(type, listeners, removed);
    for (const listener of listeners) {
      const reason = unbound?.get(listener.name);
      if (reason === undefined) this.#put(type, listener);
      else refusals.push({ name: listener.name, problems: [{ field: "address", message: reason }] });
    }
    return refusals;
  }

  /** Undefined: there is nothing to do, since nobody needs it, or it is what we have. */
  #judge(type: ResourceType, { name, version, bytes }: StoredResource): Resource | Refusal | undefined {
    // A resource that we gave up while it was on its way is nothing to us.
    if (!this.#graph.isNeeded(type, name)) return undefined;
    const known = this.#graph.received(type).get(name);
    if (known !== undefined && known.version === version && Buffer.compare(known.bytes, bytes) === 0) {
      // Told again, as rule D3 has it.
      this.#accept(type, known);
      return undefined;
    }
    const updatedMs = Date.now();
    const shape = this.#shapes.shapeOf(type, bytes);
    const likeKnown = shape && this.#shapes.find(type, name, shape);
    if (likeKnown !== undefined) return undecoded(type, { name, version, bytes, updatedMs, references: likeKnown });
    const decoded = decodeResource(type, name, bytes, this.#options.decoder);
    if (!decoded.ok) return { name, problems: decoded.problems };
    const references = referencesOf(decoded.value);
    if (shape !== undefined) this.#shapes.add(type, shape, references);
    return { name, version, bytes, message: decoded.value, updatedMs, references };
  }

  #put(type: ResourceType, resource: Resource): void {
    this.#graph.put(type, resource);
    this.#accept(type, resource);
  }

  #unbindable(
    type: ResourceType,
    candidates: readonly Resource[],
    removed: ReadonlySet<string>,
  ): Promise<Map<string, string>> {
    const replaced = new Set(candidates.map(({ name }) => name));
    const staying = [...this.#graph.received(type).values()].filter(
      ({ name }) => !replaced.has(name) && !removed.has(name),
    );
    return refusedListeners(candidates, this.#graph.active(type).values(), staying, this.#options.ours);
  }

  #accept(type: ResourceType, { name, version }: Resource): void {
    this.#subscriptions.accept(type.typeUrl, name, version);
    this.#refused.get(type.typeUrl)?.delete(name);
  }

  #remember(type: ResourceType, response: DeltaDiscoveryResponse, refusals: readonly Refusal[]): void {
    const refused = this.#refused.get(type.typeUrl);
    if (refused === undefined) return;
    const versions = new Map(response.resources.map(({ name, version }) => [name, version]));
    for (const refusal of refusals) {
      refused.delete(refusal.name);
      const [oldest] = refused.keys();
      if (refused.size >= REFUSED_MAX && oldest !== undefined) refused.delete(oldest);
      refused.set(refusal.name, {
        version: versions.get(refusal.name) ?? "",
        details: errorDetail(type, [refusal]),
        attemptMs: Date.now(),
      });
    }
  }

  /**
   * Takes into use what has become whole, and asks for what is now needed. Clusters first: their endpoints warm meanwhile (W1).
   * @returns fulfilled when it is in use; undefined where there is nothing to wait for
   */
  #settle(patienceMs = WARMING_MS_MAX): Promise<void> | undefined {
    const updates = this.#graph.settle(performance.now(), patienceMs);
    for (const shortName of ["EDS", "SDS", "RDS", "VHDS"] as const) {
      const request = this.#subscriptions.want(resourceType(shortName).typeUrl, this.#graph.takeNeeds(shortName));
      if (request === undefined) continue;
      if (this.#asking === undefined) this.#send?.(request);
      else this.#asking.push(request);
    }
    let inUse: Promise<void> | undefined;
    if (updates.length > 0) {
      this.updates.applied(updates);
      inUse = this.#options.apply(updates);
    }
    clearTimeout(this.#deadline);
    const deadlineMs = this.#graph.nextDeadlineMs();
    if (deadlineMs !== undefined) {
      this.#deadline = setTimeout(() => void this.#settle(), Math.max(1, deadlineMs - performance.now()));
      this.#deadline.unref();
    }
    this.#changed();
    return inUse;
  }

  #changed(): void {
    for (const listener of this.#listening) listener();
  }
}

/** The resources of a response out of their envelopes, one by one; what is wrong with an envelope is a refusal, too. */
function* unwrap(type: ResourceType, resources: readonly WireResource[]): Generator<StoredResource | Refusal> {
  const seen = new Set<string>();
  for (const { name, version, resource } of resources) {
    const problem = envelopeProblem(type, resource?.typeUrl, seen.has(name));
    seen.add(name);
    if (problem !== undefined || resource === undefined) {
      yield { name, problems: [problem ?? { field: "resource", message: "value is required" }] };
      continue;
    }
    // What protobuf hands out is a view, which would keep the whole response in memory (a Buffer's slice() would be one, too).
    const bytes = keepsBytes(type) ? resource.value : new Uint8Array(resource.value);
    yield { typeUrl: type.typeUrl, name, version, bytes };
  }
}

function envelopeProblem(type: ResourceType, typeUrl: string | undefined, twice: boolean): Problem | undefined {
  // We announce no support for heartbeats (H1), the only resources without a body that have a meaning here.
  if (typeUrl === undefined) return { field: "resource", message: "value is required" };
  if (typeUrl !== type.typeUrl)
    return { field: "resource", message: `it is a ${typeUrl} in a response of ${type.typeUrl}` }; // S18
  if (twice) return { field: "name", message: "it is twice in one response" }; // S14
  return undefined;
}
