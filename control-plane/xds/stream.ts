import { status } from "@grpc/grpc-js";

import { resourceType, type ServedType } from "#proto/resource-types.ts";

import { Alarm } from "./alarm.ts";
import { servedSet } from "./answers.ts";
import type { ResourceChange, ResourceSet } from "./cache.ts";
import { type Client, enterClient, nodeChange } from "./client.ts";
import type { Watcher } from "./interest.ts";
import type { Credentials } from "./join.ts";
import { nextResponse } from "./next-response.ts";
import { Nonces } from "./nonces.ts";
import { forceAgain, nextDeadline, pruneWarming } from "./order.ts";
import type { IncomingRequest, StreamProtocol } from "./protocol.ts";
import type { RawCall } from "./raw-call.ts";
import { Quiet } from "./quiet.ts";
import type { ConnectedStream, Outstanding, ResourceStatus, StreamReport } from "./status.ts";
import type { StreamContext } from "./stream-context.ts";
import { StreamTypes } from "./stream-types.ts";
import { isFullState, noteChanges, rescan, type Subscription, watched } from "./subscription.ts";
import { takeRequest } from "./take-request.ts";
import type { Turn } from "./turns.ts";
import type { WantedResource } from "./wanted-resources.ts";
import { typeUrlOfView } from "./whole-routes.ts";

const EDS = resourceType("EDS").typeUrl;

/**
 * One stream: does the input and output, and leaves every decision to subscription*.ts and order.ts, by way of StreamTypes. It runs when one of four things
 * happens: a request comes, a resource that it wants changes, a write has gone out, or a wait has ended. Nothing is written while the
 * write before has not left (lesson 36), and nothing is queued but names.
 */
export class XdsStream implements Watcher, ConnectedStream, Turn {
  readonly #call: RawCall;
  readonly #protocol: StreamProtocol;
  readonly #context: StreamContext;
  readonly #types: StreamTypes;
  readonly #nonces = new Nonces();
  readonly #onClosed: () => void;
  #client: Client | undefined;
  /** When the write under way began; undefined without one. */
  #writingSinceMs: number | undefined;
  #ended = false;
  #runScheduled = false;
  #lastRequestCame = false;
  readonly #runOnce = () => this.#run();
  /** The response under way has left for the network. */
  readonly #sent = () => {
    this.#writingSinceMs = undefined;
    if (this.#hasMore) this.#guard(this.#runOnce);
  };
  readonly #quiet: Quiet;
  readonly #alarm: Alarm;
  readonly #firstRequestTimer: NodeJS.Timeout;

  constructor(
    call: RawCall,
    protocol: StreamProtocol,
    onlyType: ServedType | undefined,
    context: StreamContext,
    onClosed: () => void,
  ) {
    this.#call = call;
    this.#protocol = protocol;
    this.#types = new StreamTypes(protocol, onlyType);
    this.#context = context;
    this.#quiet = new Quiet(context.limits);
    this.#onClosed = onClosed;
    call.listen({
      message: (bytes) => this.#guard(() => this.#receive(bytes)),
      // It says no more, but reads still, as grpcurl does: what it has asked for is sent first.
      halfClosed: () => {
        this.#lastRequestCame = true;
        this.#schedule();
      },
      gone: () => this.#close(),
    });
    this.#alarm = new Alarm(context.now, () => this.#guard(() => this.#wake()));
    this.#firstRequestTimer = setTimeout(() => {
      this.end(status.INVALID_ARGUMENT, "no request has come");
    }, context.limits.firstRequestTimeoutMs).unref();
  }

  /** Ends the stream with a gRPC status other than OK. */
  end(code: status, details: string): void {
    if (this.#ended) return;
    this.#context.metrics.streamsCut.add(1, status[code]);
    const { id: node, address = this.peer } = this.#client?.identity ?? {};
    this.#context.log.info({ node, address, code: status[code], details }, "xDS stream ended");
    this.#cleanUp();
    this.#call.end(code, details);
  }

  changed(view: string, changes: readonly ResourceChange[]): void {
    const sub = this.#types.get(typeUrlOfView(view));
    if (sub === undefined) return;
    const lingers = this.#protocol.lingers && isFullState(sub.type);
    const publication = this.#context.publications.current;
    noteChanges(sub, changes, { lingers, nowMs: this.#context.now(), publication });
    // Whatever changed may have given a host that was asked for to another virtual host.
    if (sub.asked !== undefined && this.#client !== undefined) {
      servedSet(this.#client.view, this.#client.identity.gatewayGroup, sub);
    }
    if (publication !== undefined) this.#client?.connection.changed();
    this.#schedule();
  }

  groupChanged(): void {
    const { now } = this.#context;
    if (this.#client === undefined) return;
    const { gatewayGroup } = this.#client.identity;
    for (const sub of this.#types.subscriptions) {
      const set = servedSet(this.#client.view, gatewayGroup, sub);
      if (set !== undefined) rescan(sub, set, now());
    }
    this.#client.connection.changed();
    this.#schedule();
  }

  /** Who may join has changed: ends the stream if its client no longer may. */
  checkCredentials(): void {
    if (this.#client === undefined) return;
    const { identity, credentials } = this.#client;
    const refusal = this.#context.join.refusal(identity.gatewayGroup, credentials);
    if (refusal !== undefined) this.end(refusal.code, refusal.details);
  }

  /** What the client shows. */
  get credentials(): Credentials {
    return this.#call.credentials;
  }

  /** The client's address. */
  get peer(): string {
    return this.#call.peer;
  }

  /** For the registry. */
  report(): StreamReport {
    const group = { name: this.#client?.identity.gatewayGroup ?? "", exists: this.#groupExists };
    return this.#types.report(group);
  }

  /** Everything that it wants, for reports on it. */
  wanted(): Iterable<WantedResource> {
    return this.#client === undefined ? [] : this.#types.wanted(this.#client);
  }

  outstanding(): Outstanding {
    return this.#types.outstanding();
  }

  resources(typeUrl: string | undefined): Iterable<ResourceStatus> {
    return this.#types.resources(typeUrl);
  }

  clustersAccepted(names: ReadonlySet<string>): void {
    const endpoints = this.#types.get(EDS);
    const set = this.#client?.view.resources(this.#client.identity.gatewayGroup, EDS);
    if (endpoints === undefined || set === undefined) return;
    forceAgain(endpoints, set, names);
    this.#schedule();
  }

  /** For {@link Turns}. */
  run(): void {
    this.#runScheduled = false;
    this.#guard(this.#runOnce);
  }

  #receive(bytes: Buffer): void {
    if (this.#ended) return;
    let request: IncomingRequest;
    try {
      request = this.#protocol.decode(bytes);
    } catch {
      this.end(status.INVALID_ARGUMENT, `the request is no ${this.#protocol.name} discovery request`);
      return;
    }
    const client = this.#identify(request);
    if (client === undefined) return;
    const sub = this.#subscriptionFor(request, client);
    if (sub === undefined) return;
    const taken = takeRequest(this.#context, client, this.#types, sub, request, this);
    if ("code" in taken) {
      this.end(taken.code, taken.details);
      return;
    }
    if (request.reconnects) this.#quiet.resume(this.#context.now(), this.#types.aggregated);
    client.connection.changed();
    if (!taken.isMereAnswer || this.#hasMore) this.#schedule();
  }

  /** The client as its first request has named it; undefined if it may not go on. */
  #identify({ node }: IncomingRequest): Client | undefined {
    const before = this.#client;
    const found = before === undefined ? enterClient(node, this, this.#context) : (nodeChange(before, node) ?? before);
    if ("code" in found) {
      this.end(found.code, found.details);
      return undefined;
    }
    if (before !== undefined) return before;
    this.#client = found;
    clearTimeout(this.#firstRequestTimer);
    const { log, firstSyncs, limits, now } = this.#context;
    const startMs = firstSyncs.reserve(now(), limits.firstSyncWaitMs);
    if (startMs === undefined) {
      this.end(status.RESOURCE_EXHAUSTED, "too many data planes come at once; try again later");
      return undefined;
    }
    this.#quiet.startAt(startMs);
    const { id: nodeId, gatewayGroup, kind, version, address } = found.identity;
    log.info({ node: nodeId, gatewayGroup, kind, version, address }, "xDS stream opened");
    if (!this.#groupExists) log.warn({ node: nodeId, gatewayGroup }, "node of an unknown gateway group");
    return found;
  }

  /** The subscription that a request is for; undefined if it gets no answer. */
  #subscriptionFor(request: IncomingRequest, client: Client): Subscription | undefined {
    const sub = this.#types.of(request, client);
    if (sub === "unknown") {
      // T4: the other types of the stream must not suffer.
      this.#context.metrics.unknownTypes.add();
      if (this.#types.noteUnknown(request.typeUrl, this.#context.limits)) client.connection.changed();
      return undefined;
    }
    if (!("code" in sub)) return sub;
    this.end(sub.code, sub.details);
    return undefined;
  }

  /** Runs after the events of this turn, so that all of them are seen together. */
  #schedule(): void {
    if (this.#runScheduled || this.#ended) return;
    this.#runScheduled = true;
    this.#context.turns.add(this);
  }

  /** A bug that one client's requests bring to light must not end the others' streams. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#context.log.error({ node: this.#client?.identity.id, err: error }, "xDS stream failed");
      this.end(status.INTERNAL, "the control plane failed to serve this stream; its log says why");
    }
  }

  #run(): void {
    if (this.#ended || this.#writingSinceMs !== undefined) return;
    if (this.#client === undefined && this.#lastRequestCame) this.#close();
    if (this.#client === undefined) return;
    const { limits, now } = this.#context;
    const nowMs = now();
    const overdue = this.#types.overdue(nowMs, limits);
    if (overdue !== undefined) {
      this.end(status.DEADLINE_EXCEEDED, `no answer to ${overdue.typeUrl} for ${limits.ackTimeoutMs / 1000} s`);
      return;
    }
    const { view, identity } = this.#client;
    const { gatewayGroup } = identity;
    const endpoints = view.resources(gatewayGroup, EDS);
    const quietUntilMs = this.#quiet.until(nowMs, this.#types.routesKnown);
    if (endpoints !== undefined && quietUntilMs === undefined) {
      pruneWarming(this.#types.order, endpoints, limits, nowMs);
      // Whatever is written, its end runs this again.
      if (this.#push(this.#client, endpoints, nowMs)) return;
    }
    if (this.#lastRequestCame && quietUntilMs === undefined) {
      this.#close();
      return;
    }
    const nextMs = quietUntilMs ?? nextDeadline(this.#types.order, limits, nowMs);
    if (nextMs !== undefined) this.#alarm.at(nextMs);
  }

  /** Writes the next response of the first type that has one that may go out. */
  #push(client: Client, endpoints: ResourceSet, nowMs: number): boolean {
    const { order, subscriptions } = this.#types;
    const time = { nonces: this.#nonces, endpoints, nowMs };
    for (const sub of subscriptions) {
      const bytes = nextResponse(this.#context, client, order, this.#protocol, sub, time);
      if (bytes === undefined) continue;
      this.#writingSinceMs = nowMs;
      this.#alarm.at(nowMs + this.#context.limits.ackTimeoutMs);
      this.#call.send(bytes, this.#sent);
      client.connection.changed();
      return true;
    }
    return false;
  }

  /** Whether a run could do anything now or later, but wait for answers, which a timer does. */
  get #hasMore(): boolean {
    return this.#lastRequestCame || this.#types.waiting;
  }

  #wake(): void {
    if (this.#writingSinceMs === undefined) {
      this.#run();
      return;
    }
    const endMs = this.#writingSinceMs + this.#context.limits.ackTimeoutMs;
    if (this.#context.now() >= endMs) this.end(status.DEADLINE_EXCEEDED, "the client doesn't read");
    else this.#alarm.at(endMs);
  }

  /** As far as we can know: before the cache is ready no group is unknown. */
  get #groupExists(): boolean {
    const { cache } = this.#context;
    return !cache.ready || cache.hasGroup(this.#client?.identity.gatewayGroup ?? "");
  }

  /** The client has closed its side, or the connection is gone. */
  #close(): void {
    if (this.#ended) return;
    const { id, gatewayGroup } = this.#client?.identity ?? {};
    this.#context.log.info({ node: id, gatewayGroup }, "xDS stream closed");
    this.#cleanUp();
    this.#call.end(status.OK);
  }

  #cleanUp(): void {
    this.#ended = true;
    clearTimeout(this.#firstRequestTimer);
    this.#alarm.clear();
    if (this.#client !== undefined) {
      const { audience } = this.#client;
      for (const sub of this.#types.subscriptions) {
        audience.interest.removeAll(sub.view, watched(sub), this);
      }
      this.#client.leave();
    }
    this.#onClosed();
  }
}
