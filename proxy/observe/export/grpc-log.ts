import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { ClientWritableStream } from "@grpc/grpc-js";

import { NodeSchema } from "#envoy/config/core/v3/base_pb.ts";

import { Batcher } from "./batcher.ts";
import { type ExportContext, GrpcCollector } from "./collector.ts";

/** What a gRPC access log is configured with; two logs that agree share a stream. */
export interface GrpcLogOptions {
  readonly logName: string;
  readonly cluster: string;
  readonly authority: string;
  readonly flushMs: number;
  readonly batchBytes: number;
}

const METHOD = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/** Entries that may wait for a collector that doesn't keep up. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;

/** How long one write may take before the stream counts as stuck. */
const WRITE_MS_MAX = 10_000;

/** One stream of StreamAccessLogs from this worker; it is opened anew after it ended, and its first message says who we are. */
export class GrpcLog {
  readonly #batcher: Batcher<Uint8Array>;
  readonly #collector: GrpcCollector;
  readonly #identifier: Uint8Array;
  #stream: ClientWritableStream<Buffer> | undefined;

  constructor(options: GrpcLogOptions, context: ExportContext) {
    this.#collector = new GrpcCollector(context, options.cluster, options.authority);
    this.#identifier = identifierOf(options.logName, context.node);
    this.#batcher = new Batcher({
      batchBytes: options.batchBytes,
      flushMs: options.flushMs,
      waitingBytesMax: Math.max(WAITING_BYTES_MAX, options.batchBytes),
      stats: context.stats?.exported("access_logs", "grpc_access_log"),
      send: (batch) => this.#send(batch),
    });
  }

  /** Takes an encoded HTTPAccessLogEntry. */
  write(entry: Uint8Array): void {
    this.#batcher.add(entry, entry.length);
  }

  /** Sends what is left and ends the stream. */
  async close(): Promise<void> {
    await this.#batcher.close();
    this.#stream?.end();
    this.#stream = undefined;
    this.#collector.reset();
  }

  async #send(batch: readonly Uint8Array[]): Promise<void> {
    const first = this.#stream === undefined;
    const stream = this.#stream ?? (await this.#open());
    const message = messageOf(first ? this.#identifier : undefined, batch);
    try {
      await written(stream, message);
    } catch (error) {
      stream.cancel();
      if (this.#stream === stream) this.#stream = undefined;
      throw error;
    }
  }

  async #open(): Promise<ClientWritableStream<Buffer>> {
    const stream = await this.#collector.clientStream(METHOD, () => {
      if (this.#stream === stream) this.#stream = undefined;
      stream.destroy();
      this.#collector.reset();
    });
    this.#stream = stream;
    return stream;
  }
}

/** Writes a message; rejects if the stream ends first, or takes none for too long. */
async function written(stream: ClientWritableStream<Buffer>, message: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onClose = () => reject(new Error("the stream ended"));
  const timer = setTimeout(() => reject(new Error("the collector does not read")), WRITE_MS_MAX);
  stream.once("close", onClose);
  stream.write(message, (error?: Error | null) => (error instanceof Error ? reject(error) : resolve()));
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    stream.off("close", onClose);
  }
}

/** StreamAccessLogsMessage.Identifier: node = 1, log_name = 2. */
function identifierOf(logName: string, node: ExportContext["node"]): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).bytes(toBinary(NodeSchema, create(NodeSchema, { ...node })));
  return writer.tag(2, WireType.LengthDelimited).string(logName).finish();
}

/** StreamAccessLogsMessage: identifier = 1, http_logs = 2 { log_entry = 1 }. By hand, since the entries are encoded already. */
function messageOf(identifier: Uint8Array | undefined, entries: readonly Uint8Array[]): Buffer {
  const writer = new BinaryWriter();
  if (identifier !== undefined) writer.tag(1, WireType.LengthDelimited).bytes(identifier);
  writer.tag(2, WireType.LengthDelimited).fork();
  for (const entry of entries) writer.tag(1, WireType.LengthDelimited).bytes(entry);
  return Buffer.from(writer.join().finish());
}
