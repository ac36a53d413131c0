import {
  type handleBidiStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
} from "@grpc/grpc-js";

import type { Payload } from "#proto/gen/nacos/grpc_service_pb.ts";

import type { NacosServiceInfo } from "../../discovery/nacos/convert.ts";
import { decode, deserialize, encode, serialize } from "../../discovery/nacos/payload.ts";
import type { TestCertificate } from "./certificates.ts";

/** A request as the server got it. */
interface Asked {
  readonly type: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** The gRPC port of a Nacos that a test plays: it answers as told, and pushes what it is given. */
export class ScriptedNacos implements AsyncDisposable {
  /** Every request but the ones that keep the connection. */
  readonly asked: Asked[] = [];
  /** Services that somebody is subscribed to. */
  readonly subscribed = new Set<unknown>();
  /** What a subscription is answered with, until a push says otherwise. */
  info: NacosServiceInfo = { name: "orders", groupName: "DEFAULT_GROUP", hosts: [] };
  /** What a request is denied with; undefined allows it. */
  denial: (asked: Asked) => string | undefined = () => undefined;
  /** What a request waits for until it is heeded, however many come after it. */
  delay: (asked: Asked) => Promise<void> = () => Promise.resolve();
  /** What a connection waits for until it is told that it is there. */
  welcome: () => Promise<void> = () => Promise.resolve();
  readonly #server = new Server();
  readonly #streams = new Set<ServerDuplexStream<Payload, Payload>>();
  #port = 0;

  /** @param tls what the server shows; plain text without */
  static async start(tls?: TestCertificate): Promise<ScriptedNacos> {
    const made = new ScriptedNacos();
    const codec = {
      ...{ requestSerialize: serialize, requestDeserialize: deserialize },
      ...{ responseSerialize: serialize, responseDeserialize: deserialize },
    };
    made.#server.addService(
      {
        request: { ...codec, path: "/Request/request", requestStream: false, responseStream: false },
        stream: { ...codec, path: "/BiRequestStream/requestBiStream", requestStream: true, responseStream: true },
      },
      { request: made.#answer, stream: made.#open },
    );
    const pair = tls && { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) };
    const credentials = pair ? ServerCredentials.createSsl(null, [pair]) : ServerCredentials.createInsecure();
    made.#port = await new Promise((resolve, reject) => {
      made.#server.bindAsync("127.0.0.1:0", credentials, (error, port) => (error ? reject(error) : resolve(port)));
    });
    return made;
  }

  /** The gRPC port: the HTTP port, which nobody listens on, is one below with an offset of 1. */
  get port(): number {
    return this.#port;
  }

  get connections(): number {
    return this.#streams.size;
  }

  /** Tells all connections of a service's instances. */
  push(info: NacosServiceInfo): void {
    const { name = "", groupName = "" } = info;
    const body = { requestId: "1", namespace: "public", groupName, serviceName: name, serviceInfo: info };
    for (const stream of this.#streams) stream.write(encode("NotifySubscriberRequest", body));
  }

  /** Sends all connections elsewhere, as a server does that is about to stop. */
  reset(): void {
    for (const stream of this.#streams) stream.write(encode("ConnectResetRequest", { requestId: "2" }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }

  readonly #answer: handleUnaryCall<Payload, Payload> = async ({ request }, callback) => {
    const { type, body } = decode(request);
    const asked = { type, body, headers: { ...request.metadata?.headers } };
    const isService = !["ServerCheckRequest", "HealthCheckRequest"].includes(type);
    if (isService) {
      this.asked.push(asked);
      await this.delay(asked);
    }
    if (type === "HealthCheckRequest") await this.welcome();
    const denial = isService ? this.denial(asked) : undefined;
    if (type === "SubscribeServiceRequest" && denial === undefined) {
      const { serviceName, subscribe } = body;
      if (subscribe === true) this.subscribed.add(serviceName);
      else this.subscribed.delete(serviceName);
    }
    const good = { resultCode: 200, errorCode: 0, requestId: "", serviceInfo: this.info };
    const bad = { resultCode: 500, errorCode: 403, message: denial };
    callback(null, encode(type.replace("Request", "Response"), denial === undefined ? good : bad));
  };

  readonly #open: handleBidiStreamingCall<Payload, Payload> = (stream) => {
    this.#streams.add(stream);
    const gone = () => void this.#streams.delete(stream);
    stream.on("data", () => {});
    stream.on("error", gone);
    stream.on("cancelled", gone);
    stream.on("end", () => {
      gone();
      stream.end();
    });
  };
}
