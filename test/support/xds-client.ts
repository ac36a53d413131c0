/** A client for tests that speaks xDS as it is told to, records every response and keeps the state that a data plane would have. */
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";

import { NodeSchema } from "#envoy/config/core/v3/base_pb.ts";
import {
  type DeltaDiscoveryRequestSchema as DeltaRequestDesc,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
  type DiscoveryRequestSchema as RequestDesc,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
} from "#envoy/service/discovery/v3/discovery_pb.ts";
import { servedTypeByUrl } from "#proto/resource-types.ts";

const ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService";

/** Whether a response is accepted ("ack"), refused with a reason, or left without an answer. */
export type Answer = "ack" | "none" | { readonly refuse: string };

export interface RecordingOptions {
  /** Default: the id "test" in the group "default". */
  readonly node?: {
    readonly id: string;
    readonly cluster: string;
    readonly userAgentName?: string;
    readonly clientFeatures?: string[];
  };
  /** Default: plain text. */
  readonly channel?: ChannelCredentials;
  /** Sent with the stream. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Path of another service's method. Default: ADS. */
  readonly method?: string;
  /** What each response gets. Default: all are accepted. */
  readonly answer?: (response: { readonly typeUrl: string; readonly nonce: string }) => Answer;
}

/** One stream: what is common to both kinds. */
abstract class RecordingStream<Response extends { typeUrl: string; nonce: string }> {
  /** Every response, in the order of arrival. */
  readonly responses: Response[] = [];
  /** How the stream ended, once it did. */
  ended: ServiceError | "ok" | undefined;
  readonly #client: Client;
  protected readonly call: ClientDuplexStream<Buffer, Buffer>;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(address: string, method: string, { channel, metadata = {} }: RecordingOptions) {
    const asIs = (bytes: Buffer) => bytes;
    this.#client = new Client(address, channel ?? credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1,
      "grpc.use_local_subchannel_pool": 1,
    });
    const sent = new Metadata();
    for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
    this.call = this.#client.makeBidiStreamRequest(method, asIs, asIs, sent);
    this.call.on("data", (bytes: Buffer) => {
      this.receive(bytes);
      this.#wake();
    });
    this.call.on("error", (error: ServiceError) => {
      this.ended ??= error;
      this.#wake();
    });
    this.call.on("end", () => {
      this.ended ??= "ok";
      this.#wake();
    });
  }

  protected abstract receive(bytes: Buffer): void;

  /** Sends bytes that need not be a request. */
  sendRaw(bytes: Uint8Array): void {
    this.call.write(Buffer.from(bytes));
  }

  /** Says that nothing more is sent. */
  halfClose(): void {
    this.call.end();
  }

  /** Stops reading, as a client does that hangs. */
  pause(): void {
    this.call.pause();
  }

  resume(): void {
    this.call.resume();
  }

  /** The next response that no call of `next` has returned yet. */
  async next(): Promise<Response> {
    await this.until(() => this.responses.length > this.#taken || this.ended !== undefined);
    const response = this.responses[this.#taken];
    if (response === undefined) throw new Error("the stream ended", { cause: this.ended });
    this.#taken++;
    return response;
  }

  /** Waits until the condition holds; it is looked at after each event of the stream. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.ended !== undefined) throw new Error("the stream ended before", { cause: this.ended });
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  /** Waits for the stream's end. */
  async end(): Promise<ServiceError | "ok"> {
    while (this.ended === undefined) await new Promise<void>((resolve) => this.#waiting.add(resolve));
    return this.ended;
  }

  close(): void {
    this.ended ??= "ok";
    this.call.cancel();
    this.#client.close();
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

const nodeOf = ({ node }: RecordingOptions) => create(NodeSchema, node ?? { id: "test", cluster: "default" });
const answerOf = (options: RecordingOptions, response: { typeUrl: string; nonce: string }): Answer =>
  options.answer?.(response) ?? "ack";

/** A resource as a client holds it. */
export interface HeldResource {
  readonly version: string;
  readonly bytes: Uint8Array;
}

/** A delta stream (DeltaAggregatedResources unless told otherwise). */
export class RecordingDelta extends RecordingStream<DeltaDiscoveryResponse> {
  /** What a data plane would hold: type URL -> name -> resource. Refused responses leave no trace. */
  readonly state = new Map<string, Map<string, HeldResource>>();
  readonly #options: RecordingOptions;
  readonly #unanswered: DeltaDiscoveryResponse[] = [];
  #first = true;

  constructor(address: string, options: RecordingOptions = {}) {
    super(address, options.method ?? `${ADS}/DeltaAggregatedResources`, options);
    this.#options = options;
  }

  /** Sends a request; the first one carries the node. */
  send(request: MessageInitShape<typeof DeltaRequestDesc>): void {
    const message = create(DeltaDiscoveryRequestSchema, request);
    if (this.#first) message.node ??= nodeOf(this.#options);
    this.#first = false;
    this.sendRaw(toBinary(DeltaDiscoveryRequestSchema, message));
  }

  /** The first response that was left without an answer, once it has come: the server has sent it before that. */
  async offered(): Promise<DeltaDiscoveryResponse> {
    await this.until(() => this.#unanswered.length > 0);
    const offered = this.#unanswered.shift();
    if (offered === undefined) throw new Error("somebody else has taken it");
    return offered;
  }

  answer(response: DeltaDiscoveryResponse, answer: Answer = "ack"): void {
    if (answer === "none") return;
    const errorDetail = answer === "ack" ? undefined : { code: 3, message: answer.refuse };
    this.send({ typeUrl: response.typeUrl, responseNonce: response.nonce, errorDetail });
  }

  held(typeUrl: string): Map<string, HeldResource> {
    let held = this.state.get(typeUrl);
    if (held === undefined) this.state.set(typeUrl, (held = new Map()));
    return held;
  }

  /** For the first request of a type on another stream (D9). */
  heldVersions(typeUrl: string): Record<string, string> {
    return Object.fromEntries([...this.held(typeUrl)].map(([name, { version }]) => [name, version]));
  }

  protected override receive(bytes: Buffer): void {
    const response = fromBinary(DeltaDiscoveryResponseSchema, bytes);
    const answer = answerOf(this.#options, response);
    if (typeof answer === "string") {
      const held = this.held(response.typeUrl);
      for (const { name, version, resource } of response.resources) {
        held.set(name, { version, bytes: resource?.value ?? new Uint8Array() });
      }
      for (const name of response.removedResources) held.delete(name);
    }
    if (answer === "none") this.#unanswered.push(response);
    this.responses.push(response);
    this.answer(response, answer);
  }
}

/** A state-of-the-world stream (StreamAggregatedResources unless told otherwise). */
export class RecordingSotw extends RecordingStream<DiscoveryResponse> {
  /** What a data plane would hold: type URL -> name -> resource. Refused responses leave no trace. */
  readonly state = new Map<string, Map<string, Uint8Array>>();
  readonly #options: RecordingOptions;
  readonly #names = new Map<string, readonly string[]>();
  readonly #accepted = new Map<string, string>();
  readonly #nonces = new Map<string, string>();
  #first = true;

  constructor(address: string, options: RecordingOptions = {}) {
    super(address, options.method ?? `${ADS}/StreamAggregatedResources`, options);
    this.#options = options;
  }

  /** Sends a request as it is; the first one carries the node. */
  send(request: MessageInitShape<typeof RequestDesc>): void {
    const message = create(DiscoveryRequestSchema, request);
    if (this.#first) message.node ??= nodeOf(this.#options);
    this.#first = false;
    this.sendRaw(toBinary(DiscoveryRequestSchema, message));
  }

  /** Subscribes to exactly these names, with the version and nonce that a client would send now. */
  subscribe(typeUrl: string, resourceNames: readonly string[] = []): void {
    this.#names.set(typeUrl, resourceNames);
    const responseNonce = this.#nonces.get(typeUrl) ?? "";
    const versionInfo = this.#accepted.get(typeUrl) ?? "";
    this.send({ typeUrl, resourceNames: [...resourceNames], responseNonce, versionInfo });
  }

  answer(response: DiscoveryResponse, answer: Answer = "ack"): void {
    const { typeUrl, nonce } = response;
    this.#nonces.set(typeUrl, nonce);
    if (answer === "none") return;
    if (answer === "ack") this.#accepted.set(typeUrl, response.versionInfo);
    const errorDetail = answer === "ack" ? undefined : { code: 3, message: answer.refuse };
    const versionInfo = this.#accepted.get(typeUrl) ?? "";
    const resourceNames = [...(this.#names.get(typeUrl) ?? [])];
    this.send({ typeUrl, responseNonce: nonce, versionInfo, resourceNames, errorDetail });
  }

  held(typeUrl: string): Map<string, Uint8Array> {
    let held = this.state.get(typeUrl);
    if (held === undefined) this.state.set(typeUrl, (held = new Map()));
    return held;
  }

  protected override receive(bytes: Buffer): void {
    const response = fromBinary(DiscoveryResponseSchema, bytes);
    const answer = answerOf(this.#options, response);
    if (typeof answer === "string") {
      const type = servedTypeByUrl.get(response.typeUrl);
      const held = this.held(response.typeUrl);
      if (type?.wildcard) held.clear(); // Full state (S13).
      for (const resource of response.resources) held.set(nameOf(response.typeUrl, resource.value), resource.value);
    }
    this.responses.push(response);
    this.answer(response, answer);
  }
}

/** The name inside an encoded resource. */
export function nameOf(typeUrl: string, bytes: Uint8Array): string {
  const type = servedTypeByUrl.get(typeUrl);
  if (type === undefined) throw new Error(`unknown type ${typeUrl}`);
  const message: Record<string, unknown> = { ...fromBinary(type.schema, bytes) };
  return String(message[type.nameField]);
}
