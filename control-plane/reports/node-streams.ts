import { status } from "@grpc/grpc-js";

import type { Node } from "#envoy/config/core/v3/base_pb.ts";

import type { JoinGuard } from "../xds/join.ts";
import { defaultLimits } from "../xds/limits.ts";
import { identityOf, nodeProblem } from "../xds/node.ts";
import type { PortCall } from "../xds/port-call.ts";
import type { NodeIdentity } from "../xds/status.ts";

/** A stream whose first message says which node it comes from. */
type NodeCall = Pick<PortCall, "credentials" | "peer" | "end">;

/** Streams of one service that belong to nodes: who they are is decided as for discovery (xds/join.ts), and again when that changes. */
export class NodeStreams {
  readonly #join: JoinGuard;
  readonly #known = new Map<NodeCall, NodeIdentity>();
  readonly #unknown = new Map<NodeCall, NodeJS.Timeout>();
  readonly #stopChecking: () => void;

  constructor(join: JoinGuard) {
    this.#join = join;
    this.#stopChecking = join.onChange(() => this.#check());
  }

  /** Takes a stream in. One that doesn't say who it is in time is ended. */
  enter(call: NodeCall): void {
    const late = setTimeout(() => {
      call.end({ code: status.INVALID_ARGUMENT, details: "no message has come that names the node" });
    }, defaultLimits.firstRequestTimeoutMs);
    this.#unknown.set(call, late.unref());
  }

  /** A stream is over. */
  leave(call: NodeCall): void {
    clearTimeout(this.#unknown.get(call));
    this.#unknown.delete(call);
    this.#known.delete(call);
  }

  /**
   * The node of a stream.
   *
   * @param node what the message says; it may be left out but in the first one
   * @returns undefined if the node may not go on, and the stream is ended
   */
  identify(call: NodeCall, node: Node | undefined): NodeIdentity | undefined {
    const known = this.#known.get(call);
    if (known !== undefined) return known;
    const problem = nodeProblem(node, defaultLimits);
    if (node === undefined || problem !== undefined) {
      call.end({ code: status.INVALID_ARGUMENT, details: problem ?? "no node" });
      return undefined;
    }
    const identity = identityOf(node, call.peer);
    const refusal = this.#join.refusal(identity.gatewayGroup, call.credentials);
    if (refusal !== undefined) {
      call.end(refusal);
      return undefined;
    }
    clearTimeout(this.#unknown.get(call));
    this.#unknown.delete(call);
    this.#known.set(call, identity);
    return identity;
  }

  /** The server ends: nobody is looked at any more. */
  close(): void {
    this.#stopChecking();
  }

  #check(): void {
    for (const [call, { gatewayGroup }] of this.#known) {
      const refusal = this.#join.refusal(gatewayGroup, call.credentials);
      if (refusal !== undefined) call.end(refusal);
    }
  }
}
