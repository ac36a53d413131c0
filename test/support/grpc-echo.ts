import {
  type Client,
  type ClientDuplexStream,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceError,
  status,
} from "@grpc/grpc-js";

const serialize = (value: string) => Buffer.from(value);
const deserialize = (bytes: Buffer) => bytes.toString();
const method = (name: string, streams: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: serialize,
  requestDeserialize: deserialize,
  responseSerialize: serialize,
  responseDeserialize: deserialize,
});

/** A gRPC server whose messages are texts, over HTTP/2 without TLS. */
export interface GrpcEcho {
  readonly port: number;
  /** Calls that their clients gave up. */
  readonly cancelled: number;
  close(): void;
}

/** Starts a server of /test.Echo/unary and /test.Echo/talk: it adds "!" to each message, fails at "fail" and never answers "never". */
export async function startGrpcEcho(): Promise<GrpcEcho> {
  let cancelled = 0;
  const server = new Server();
  server.addService(
    { unary: method("unary", false), talk: method("talk", true) },
    {
      unary(
        call: { request: string; on(event: "cancelled", then: () => void): void },
        answer: (error: Partial<ServiceError> | null, value?: string) => void,
      ) {
        call.on("cancelled", () => cancelled++);
        if (call.request === "never") return;
        if (call.request === "fail") return answer({ code: status.NOT_FOUND, details: "no such echo" });
        answer(null, `${call.request}!`);
      },
      talk(call: ServerDuplexStream<string, string>) {
        call.on("data", (piece: string) => call.write(`${piece}!`));
        call.on("end", () => call.end());
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    port,
    get cancelled() {
      return cancelled;
    },
    close: () => server.forceShutdown(),
  };
}

/** Calls /test.Echo/unary; a failure is part of the outcome. */
export const callEcho = (client: Client, request: string, deadlineMs = 60_000) =>
  new Promise<{ readonly value: string | undefined; readonly code: number; readonly details: string }>((resolve) => {
    let value: string | undefined;
    const options = { deadline: Date.now() + deadlineMs };
    client
      .makeUnaryRequest(
        "/test.Echo/unary",
        serialize,
        deserialize,
        request,
        new Metadata(),
        options,
        (_error, got) => (value = got),
      )
      // The value, if any, comes before or after the status.
      .on("status", ({ code, details }) => setImmediate(() => resolve({ value, code, details })));
  });

/** Opens a call of /test.Echo/talk. */
export const openTalk = (client: Client): ClientDuplexStream<string, string> =>
  client.makeBidiStreamRequest("/test.Echo/talk", serialize, deserialize);
