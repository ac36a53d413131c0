import { setTimeout as sleep } from "node:timers/promises";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, type ClientDuplexStream } from "@grpc/grpc-js";

import type { Node } from "#envoy/config/core/v3/base_pb.ts";
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from "#envoy/service/discovery/v3/discovery_pb.ts";
import { Code } from "#google/rpc/code_pb.ts";

import { joinCredentials, type XdsSecurity } from "./security.ts";
import type { Request } from "./subscriptions.ts";

/** What is said on streams; the configuration implements it. One stream at a time. */
export interface Conversation {
  /** A stream is open: send the first requests, and keep `send` for those that come up until {@link closed}. */
  opened(send: (request: Request) => void): void;
  /** A response came. The next one is read when this is done; it has sent its ACK or NACK by then. */
  handle(response: DeltaDiscoveryResponse): Promise<void>;
  /** The stream is gone. `reason` is for people; undefined: it ended well, as when a server rebalances (rule T5). */
  closed(reason: string | undefined): void;
}

export interface AdsOptions {
  /** "host:port" of the control plane. */
  readonly server: string;
  readonly node: Node;
  readonly signal: AbortSignal;
  /** Default: plain text, and no token. */
  readonly security?: XdsSecurity | undefined;
}

/** Before the n-th attempt in a row without a response we wait anything up to base * 2^n, at most max ("full jitter"). */
const BACKOFF_MS_BASE = 250;
const BACKOFF_MS_MAX = 10_000;

const DELTA_PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

const channelOptions = {
  // Rule T7: grpc's own limit of 4 MiB is less than a first answer in a large installation.
  "grpc.max_receive_message_length": 64 * 1024 * 1024,
  "grpc.max_send_message_length": 64 * 1024 * 1024,
  // Rule T8: without pings a connection that is half open looks healthy for ever.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // Each attempt has a channel of its own, so that the waiting is ours alone.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_retries": 0,
};

/** Keeps a delta ADS stream to the control plane until the signal aborts. Never throws for what a server or network does. */
export async function runAdsClient(options: AdsOptions, conversation: Conversation): Promise<void> {
  let failures = 0;
  while (!options.signal.aborted) {
    const { responses, reason } = await runStream(options, conversation);
    conversation.closed(reason);
    failures = responses > 0 ? 0 : failures + 1;
    await backOff(failures, options.signal);
  }
}

/** How long to wait after so many failures in a row, given a random number in [0, 1). Exported for its test. */
export function backOffMs(failures: number, random: number): number {
  return random * Math.min(BACKOFF_MS_MAX, BACKOFF_MS_BASE * 2 ** Math.min(failures, 16));
}

async function backOff(failures: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(backOffMs(failures, Math.random()), undefined, { signal });
  } catch {
    // Aborted; the caller sees it.
  }
}

type Stream = ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/** One stream from its first request to its end. */
async function runStream(
  { server, node, signal, security = {} }: AdsOptions,
  conversation: Conversation,
): Promise<{ responses: number; reason: string | undefined }> {
  let join: ReturnType<typeof joinCredentials>;
  try {
    join = joinCredentials(security);
  } catch (error) {
    // A file that is missing now may be there at the next attempt.
    return { responses: 0, reason: error instanceof Error ? error.message : String(error) };
  }
  const client = new Client(server, join.channel, channelOptions);
  const stream: Stream = client.makeBidiStreamRequest(
    DELTA_PATH,
    (request: DeltaDiscoveryRequest) => Buffer.from(toBinary(DeltaDiscoveryRequestSchema, request)),
    (bytes: Buffer) => fromBinary(DeltaDiscoveryResponseSchema, bytes),
    join.metadata,
  );
  const cancel = () => stream.cancel();
  signal.addEventListener("abort", cancel);
  let responses = 0;
  try {
    let first = true;
    conversation.opened((request) => {
      // Rule T1: the node goes with the first request of a stream only.
      stream.write(toMessage(request, first ? node : undefined));
      first = false;
    });
    // Iterating reads one response at a time: a proxy that is slow to apply makes the server wait, not its own memory grow.
    for await (const response of stream as AsyncIterable<DeltaDiscoveryResponse>) {
      responses++;
      await conversation.handle(response);
    }
    return { responses, reason: undefined };
  } catch (error) {
    return { responses, reason: signal.aborted ? undefined : describe(error) };
  } finally {
    signal.removeEventListener("abort", cancel);
    stream.on("error", () => {}); // Cancelling a stream that is not at its end reports an error to nobody.
    stream.cancel();
    client.close();
  }
}

/** What ended a stream, in words: gRPC's details; the stack of anything else, which would be a mistake of ours. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ("details" in error && typeof error.details === "string" && error.details !== "") return error.details;
  return error.stack ?? error.message;
}

function toMessage(request: Request, node: Node | undefined): DeltaDiscoveryRequest {
  return create(DeltaDiscoveryRequestSchema, {
    ...(node === undefined ? {} : { node }),
    typeUrl: request.typeUrl,
    resourceNamesSubscribe: [...request.subscribe],
    resourceNamesUnsubscribe: [...request.unsubscribe],
    initialResourceVersions: { ...request.initialVersions },
    responseNonce: request.nonce,
    ...(request.error === undefined ? {} : { errorDetail: { code: Code.INVALID_ARGUMENT, message: request.error } }),
  });
}
