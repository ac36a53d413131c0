import { status } from "@grpc/grpc-js";
import type { Logger } from "pino";

import type { Node } from "#envoy/config/core/v3/base_pb.ts";

import { type Credentials, credentialsOf, type JoinGuard } from "../xds/join.ts";
import { defaultLimits } from "../xds/limits.ts";
import { identityOf, nodeProblem } from "../xds/node.ts";
import type { NodeIdentity } from "../xds/status.ts";
import { type Fail, OpenCalls } from "./open-calls.ts";

/** A stream whose first message says which node it comes from. */
type NodeCall = Parameters<typeof credentialsOf>[0] & Parameters<OpenCalls["enter"]>[0] & { getPeer(): string };

interface Known {
  readonly identity: NodeIdentity;
  readonly credentials: Credentials;
}

/** Streams of one service that belong to nodes: who they are is decided as for discovery (xds/join.ts), and again when that changes. */
export class NodeStreams {
  readonly calls: OpenCalls;
  readonly #join: JoinGuard;
  readonly #known = new Map<NodeCall, Known>();
  readonly #stopChecking: () => void;

  /** @param name what the streams are called in refusals: "load report" */
  constructor(name: string, join: JoinGuard, log: Logger) {
    this.calls = new OpenCalls({ name, max: defaultLimits.streamsMax, log });
    this.#join = join;
    this.#stopChecking = join.onChange(() => this.#check());
  }

  /** Takes a stream in; returns whether it may go on. One that doesn't say who it is in time is ended. */
  enter(call: NodeCall, fail: Fail): boolean {
    if (!this.calls.enter(call, fail)) return false;
    const late = setTimeout(() => {
      if (this.#known.has(call)) return;
      this.calls.end(call, { code: status.INVALID_ARGUMENT, details: "no message has come that names the node" });
    }, defaultLimits.firstRequestTimeoutMs).unref();
    for (const event of ["close", "cancelled"] as const) {
      call.on(event, () => {
        clearTimeout(late);
        this.#known.delete(call);
      });
    }
    return true;
  }

  /**
   * The node of a stream.
   *
   * @param node what the message says; it may be left out but in the first one
   * @returns undefined if the node may not go on, and the stream is ended
   */
  identify(call: NodeCall, node: Node | undefined): NodeIdentity | undefined {
    const known = this.#known.get(call);
    if (known !== undefined) return known.identity;
    const problem = nodeProblem(node, defaultLimits);
    if (node === undefined || problem !== undefined) {
      this.calls.end(call, { code: status.INVALID_ARGUMENT, details: problem ?? "no node" });
      return undefined;
    }
    const identity = identityOf(node, call.getPeer());
    const credentials = credentialsOf(call);
    const refusal = this.#join.refusal(identity.gatewayGroup, credentials);
    if (refusal !== undefined) {
      this.calls.end(call, refusal);
      return undefined;
    }
    this.#known.set(call, { identity, credentials });
    return identity;
  }

  /** Ends all streams, as the server ends. */
  close(): void {
    this.#stopChecking();
    this.calls.close();
  }

  #check(): void {
    for (const [call, { identity, credentials }] of this.#known) {
      const refusal = this.#join.refusal(identity.gatewayGroup, credentials);
      if (refusal === undefined) continue;
      this.#known.delete(call);
      this.calls.end(call, refusal);
    }
  }
}
