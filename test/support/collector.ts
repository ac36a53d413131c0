/** Collectors of access logs and traces: real servers that keep what they get. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServerReadableStream } from "@grpc/grpc-js";

import type { HTTPAccessLogEntry } from "#envoy/data/accesslog/v3/accesslog_pb.ts";
import {
  type StreamAccessLogsMessage,
  StreamAccessLogsMessageSchema,
  StreamAccessLogsResponseSchema,
} from "#envoy/service/accesslog/v3/als_pb.ts";
import { type ExportTraceServiceRequest, ExportTraceServiceRequestSchema } from "#proto/gen/opentelemetry/trace_pb.ts";

import type { TestCertificate } from "./certificates.ts";

/** Entries of the access log service, by the node and log that sent them. */
export interface LoggedEntries {
  readonly nodeId: string;
  readonly logName: string;
  readonly entries: HTTPAccessLogEntry[];
  /** Messages of this stream, and how many of them said who sends. */
  messages: number;
  identified: number;
}

/** A gRPC server of access logs and OTLP traces, and an HTTP one of traces. */
export interface Collector {
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Streams in order of their opening. */
  readonly logs: LoggedEntries[];
  readonly exports: ExportTraceServiceRequest[];
  /** HTTP requests: path, fields and body. */
  readonly posts: { path: string; headers: Record<string, unknown>; body: Buffer }[];
  close(): Promise<void>;
}

const same = (bytes: Buffer) => bytes;

/** What a collector shows of itself, and whose clients it takes. */
export interface CollectorTls extends TestCertificate {
  /** PEM: clients must show a certificate of this authority. */
  readonly clientCa: string;
}

/** Starts a collector on free ports; `tls`: it speaks nothing else. */
export async function startCollector(tls?: CollectorTls): Promise<Collector> {
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(
          Buffer.from(tls.clientCa),
          [{ cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }],
          true,
        );
  const logs: LoggedEntries[] = [];
  const exports: ExportTraceServiceRequest[] = [];
  const posts: Collector["posts"] = [];
  const grpc = new Server();
  const method = {
    requestDeserialize: same,
    requestSerialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  grpc.addService(
    {
      streamAccessLogs: {
        ...method,
        path: "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs",
        requestStream: true,
        responseStream: false,
      },
    },
    {
      streamAccessLogs(call: ServerReadableStream<Buffer, Buffer>, done: (error: null, answer: Buffer) => void) {
        let log: LoggedEntries | undefined;
        call.on("data", (bytes: Buffer) => {
          const message: StreamAccessLogsMessage = fromBinary(StreamAccessLogsMessageSchema, bytes);
          if (log === undefined) {
            const { node, logName = "" } = message.identifier ?? {};
            log = { nodeId: node?.id ?? "", logName, entries: [], messages: 0, identified: 0 };
            logs.push(log);
          }
          log.messages++;
          if (message.identifier !== undefined) log.identified++;
          if (message.logEntries.case === "httpLogs") log.entries.push(...message.logEntries.value.logEntry);
        });
        call.on("end", () =>
          done(
            null,
            Buffer.from(
              toBinary(StreamAccessLogsResponseSchema, { $typeName: StreamAccessLogsResponseSchema.typeName }),
            ),
          ),
        );
        call.on("error", () => {});
      },
    },
  );
  grpc.addService(
    {
      export: {
        ...method,
        path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        requestStream: false,
        responseStream: false,
      },
    },
    {
      export(call: { request: Buffer }, done: (error: null, answer: Buffer) => void) {
        exports.push(fromBinary(ExportTraceServiceRequestSchema, call.request));
        done(null, Buffer.alloc(0));
      },
    },
  );
  const grpcPort = await new Promise<number>((resolve, reject) => {
    grpc.bindAsync("127.0.0.1:0", credentials, (error, port) => (error === null ? resolve(port) : reject(error)));
  });
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      posts.push({ path: request.url ?? "", headers: request.headers, body: Buffer.concat(chunks) });
      response.end();
    });
  };
  // A batch that is sent just when a kept connection ends is lost: that is not what is tested.
  const http =
    tls === undefined
      ? createServer({ keepAliveTimeout: 600_000 }, onRequest)
      : createSecureServer(
          {
            cert: tls.cert,
            key: tls.key,
            ca: tls.clientCa,
            requestCert: true,
            rejectUnauthorized: true,
            keepAliveTimeout: 600_000,
          },
          onRequest,
        );
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    grpcPort,
    httpPort: (http.address() as AddressInfo).port,
    logs,
    exports,
    posts,
    async close() {
      grpc.forceShutdown();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}
