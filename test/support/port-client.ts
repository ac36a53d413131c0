/** Calls of any gRPC method by its descriptor, on a connection of their own: what a stranger to the server would send. */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";

/** A method whose messages are known. */
type Method<I extends DescMessage, O extends DescMessage> = DescMethod & { readonly input: I; readonly output: O };

export interface PortCallOptions {
  /** Default: plain text. */
  readonly channel?: ChannelCredentials;
  readonly metadata?: Readonly<Record<string, string>>;
}

const pathOf = (method: DescMethod) => `/${method.parent.typeName}/${method.name}`;
const asIs = (bytes: Buffer) => bytes;

function open(address: string, { channel, metadata = {} }: PortCallOptions) {
  const client = new Client(address, channel ?? credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  const sent = new Metadata();
  for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
  return { client, sent };
}

/** Calls a unary method. @throws ServiceError */
export function callUnary<I extends DescMessage, O extends DescMessage>(
  address: string,
  method: Method<I, O>,
  request: MessageInitShape<I>,
  options: PortCallOptions = {},
): Promise<MessageShape<O>> {
  const { client, sent } = open(address, options);
  const bytes = Buffer.from(toBinary(method.input, create(method.input, request)));
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(pathOf(method), asIs, asIs, bytes, sent, (error, answer) => {
      client.close();
      if (error !== null) reject(error);
      else resolve(fromBinary(method.output, answer ?? Buffer.alloc(0)));
    });
  });
}

/** A stream of any kind that records what it gets. */
export class PortStream<I extends DescMessage, O extends DescMessage> {
  readonly responses: MessageShape<O>[] = [];
  /** How it ended, once it did. */
  ended: ServiceError | "ok" | undefined;
  readonly #client: Client;
  readonly #method: Method<I, O>;
  readonly #call: ClientDuplexStream<Buffer, Buffer>;
  readonly #waiting = new Set<() => void>();

  constructor(address: string, method: Method<I, O>, options: PortCallOptions = {}) {
    const { client, sent } = open(address, options);
    this.#client = client;
    this.#method = method;
    // Towards the server a client-streaming method looks the same.
    this.#call = client.makeBidiStreamRequest(pathOf(method), asIs, asIs, sent);
    this.#call.on("data", (bytes: Buffer) => {
      this.responses.push(fromBinary(method.output, bytes));
      this.#wake();
    });
    this.#call.on("error", (error: ServiceError) => this.#end(error));
    this.#call.on("end", () => this.#end("ok"));
  }

  send(request: MessageInitShape<I>): void {
    this.#call.write(Buffer.from(toBinary(this.#method.input, create(this.#method.input, request))));
  }

  /** Says that nothing more is sent. */
  halfClose(): void {
    this.#call.end();
  }

  /** Waits until the condition holds; it is looked at after each event of the stream. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.ended !== undefined) throw new Error("the stream ended before", { cause: this.ended });
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async end(): Promise<ServiceError | "ok"> {
    while (this.ended === undefined) await new Promise<void>((resolve) => this.#waiting.add(resolve));
    return this.ended;
  }

  close(): void {
    this.#end("ok");
    this.#call.cancel();
    this.#client.close();
  }

  #end(how: ServiceError | "ok"): void {
    this.ended ??= how;
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
