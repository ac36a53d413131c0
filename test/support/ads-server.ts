import { EventEmitter, once } from "node:events";

import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";

import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from "#envoy/service/discovery/v3/discovery_pb.ts";
import { type ResourceType, resourceType } from "#proto/resource-types.ts";

type ShortName = ResourceType["shortName"];
type Call = ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/** A resource to send. */
export interface Sent {
  readonly name: string;
  readonly version?: string;
  /** A message of the response's type, or bytes to send as they are. */
  readonly body: Message | Uint8Array;
}

/**
 * A control plane for tests, over real gRPC: it records what a client says and sends what the test says, in the test's order. It follows
 * no rule by itself, so that a test can also break them.
 */
export class AdsServer {
  readonly #server = new Server();
  readonly #events = new EventEmitter();
  readonly #calls: Call[] = [];
  #port = 0;
  #nonces = 0;
  /** All requests, in order, of all streams. */
  readonly requests: DeltaDiscoveryRequest[] = [];

  /** Starts on a free port, or on the given one. */
  static async start(port = 0): Promise<AdsServer> {
    const ads = new AdsServer();
    ads.#server.addService(
      {
        deltaAggregatedResources: {
          path: "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
          requestStream: true,
          responseStream: true,
          requestSerialize: (message: DeltaDiscoveryRequest) =>
            Buffer.from(toBinary(DeltaDiscoveryRequestSchema, message)),
          requestDeserialize: (bytes: Buffer) => fromBinary(DeltaDiscoveryRequestSchema, bytes),
          responseSerialize: (message: DeltaDiscoveryResponse) =>
            Buffer.from(toBinary(DeltaDiscoveryResponseSchema, message)),
          responseDeserialize: (bytes: Buffer) => fromBinary(DeltaDiscoveryResponseSchema, bytes),
        },
      },
      { deltaAggregatedResources: (call: Call) => ads.#accept(call) },
    );
    ads.#port = await new Promise<number>((resolve, reject) => {
      ads.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return ads;
  }

  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** How many streams were opened. */
  get streams(): number {
    return this.#calls.length;
  }

  /** Sends a response on the newest stream; gives its nonce. */
  send(shortName: ShortName, resources: readonly Sent[], removedResources: string[] = []): string {
    const { typeUrl, schema } = resourceType(shortName);
    const nonce = `nonce-${++this.#nonces}`;
    const response = create(DeltaDiscoveryResponseSchema, {
      typeUrl,
      nonce,
      systemVersionInfo: "test",
      removedResources,
      resources: resources.map(({ name, version = "1", body }) => ({
        name,
        version,
        resource: { typeUrl, value: body instanceof Uint8Array ? body : toBinary(schema, body) },
      })),
    });
    this.#calls.at(-1)?.write(response);
    return nonce;
  }

  /** The first request, from the `from`-th on, that the test looks for; waits for it. */
  async request(matches: (request: DeltaDiscoveryRequest) => boolean, from = 0): Promise<DeltaDiscoveryRequest> {
    for (;;) {
      const found = this.requests.slice(from).find(matches);
      if (found !== undefined) return found;
      await once(this.#events, "request");
    }
  }

  /** The answer to a response. */
  answerTo(nonce: string): Promise<DeltaDiscoveryRequest> {
    return this.request(({ responseNonce }) => responseNonce === nonce);
  }

  /** The request that subscribes to a name. */
  subscriptionTo(shortName: ShortName, name: string, from = 0): Promise<DeltaDiscoveryRequest> {
    const { typeUrl } = resourceType(shortName);
    return this.request(
      (request) => request.typeUrl === typeUrl && request.resourceNamesSubscribe.includes(name),
      from,
    );
  }

  /** Ends the newest stream, well or with an error. */
  endStream(error?: string): void {
    if (error === undefined) this.#calls.at(-1)?.end();
    else this.#calls.at(-1)?.emit("error", { code: 14, details: error });
  }

  /** Stops at once. */
  close(): void {
    this.#server.forceShutdown();
  }

  #accept(call: Call): void {
    this.#calls.push(call);
    call.on("error", () => {});
    call.on("data", (request: DeltaDiscoveryRequest) => {
      this.requests.push(request);
      this.#events.emit("request");
    });
    call.on("end", () => call.end());
  }
}
