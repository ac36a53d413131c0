import { setTimeout as sleep } from "node:timers/promises";

import { ChannelCredentials, Client, type ClientDuplexStream, type ServiceError, status } from "@grpc/grpc-js";

import type { Payload } from "#proto/gen/nacos/grpc_service_pb.ts";

import { DiscoveryError } from "../source.ts";
import type { TlsSettings } from "../tls.ts";

import { decode, deserialize, encode, type NacosMessage, type NacosResponse, serialize } from "./payload.ts";
import type { NacosServer } from "./settings.ts";
import type { NacosResource } from "./signature.ts";

/** The server wants us to go to another one (ConnectResetRequest), which is nothing wrong. */
export class ConnectionMovedError extends Error {
  override readonly name = "ConnectionMovedError";
}

/** What a connection needs. */
export interface ConnectionOptions {
  readonly server: NacosServer;
  readonly tls: TlsSettings;
  readonly namespace: string;
  /** The headers that authenticate a request, now; `about` is the service that it concerns, if any. */
  headers(about?: NacosResource): Promise<Readonly<Record<string, string>>>;
  /** The server tells something that it was not asked for; it is acknowledged in any case. */
  pushed(message: NacosMessage): void;
  /** How long the server may take for any answer. Default: some seconds, so that an outage shows soon. */
  readonly patienceMs?: number;
}

const CONNECT_TIMEOUT_MS = 3_000;
const REQUEST_TIMEOUT_MS = 5_000;
/** Nacos forbids gRPC's own pings more often than every 5 minutes and has this message for it instead; its Java client sends it as often. */
const KEEP_ALIVE_INTERVAL_MS = 5_000;
/** A service of ENDPOINTS_MAX instances is some 30 MB of JSON. */
const MESSAGE_BYTES_MAX = 64 << 20;
/** Requests under way at once: a connection that comes back asks for thousands of services. */
const REQUESTS_MAX = 64;
/** Nacos' NacosException and NacosRuntimeException codes. */
const NO_RIGHT = 403;
const UNREGISTERED = 301;
/** As while it starts. */
const NOT_UP = 300;
/** What we call ourselves. Nacos reads a version out of it and wants this form. */
const CLIENT_VERSION = "Sluice:v0.1.0";

/** What pushes are answered with. */
const acknowledgements: Readonly<Record<string, string>> = {
  NotifySubscriberRequest: "NotifySubscriberResponse",
  ClientDetectionRequest: "ClientDetectionResponse",
  ConnectResetRequest: "ConnectResetResponse",
  SetupAckRequest: "SetupAckResponse",
};

/** A registered connection to one Nacos server: requests, and what the server pushes. Once broken it stays so. */
export class NacosConnection {
  readonly server: NacosServer;
  /** Rejects when the connection ends, with the reason; never resolves. */
  readonly ended: Promise<never>;
  readonly #options: ConnectionOptions;
  readonly #client: Client;
  readonly #waiting: (() => void)[] = [];
  #underWay = 0;
  #stream: ClientDuplexStream<Payload, Payload> | undefined;
  #end: (reason: Error) => void = () => {};
  #isEnded = false;
  #keepAlive: NodeJS.Timeout | undefined;

  private constructor(options: ConnectionOptions) {
    this.server = options.server;
    this.#options = options;
    const { promise, reject } = Promise.withResolvers<never>();
    // Whoever needs the connection looks at it; when nobody does it concerns nobody.
    promise.catch(() => {});
    this.ended = promise;
    this.#end = reject;
    const { ca, cert, key, serverName, verify } = options.tls;
    const pem = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
    const credentials = options.server.secure
      ? ChannelCredentials.createSsl(pem(ca), pem(key), pem(cert), { rejectUnauthorized: verify !== false })
      : ChannelCredentials.createInsecure();
    this.#client = new Client(options.server.grpc, credentials, {
      // Nacos knows a client by its TCP connection: it must not be shared with, nor replaced by, another one.
      "grpc.use_local_subchannel_pool": 1,
      "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
      "grpc.enable_retries": 0,
      // As with every other registry: what the environment says of proxies is for the way out, not for the own network.
      "grpc.enable_http_proxy": 0,
      ...(serverName === undefined ? {} : { "grpc.ssl_target_name_override": serverName }),
    });
  }

  /**
   * Connects and registers: ServerCheckRequest, then ConnectionSetupRequest on the stream.
   * @throws {DiscoveryError}
   */
  static async open(options: ConnectionOptions, signal: AbortSignal): Promise<NacosConnection> {
    const connection = new NacosConnection(options);
    const abort = () => connection.close(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    try {
      signal.throwIfAborted();
      await Promise.race([connection.#register(), connection.ended]);
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  get #connectTimeoutMs(): number {
    return this.#options.patienceMs ?? CONNECT_TIMEOUT_MS;
  }

  /**
   * Asks, and waits for the answer.
   * @throws {DiscoveryError} when there is none, or one that says that something is wrong
   */
  async request<T>(type: string, body: object): Promise<T & NacosResponse> {
    while (this.#underWay >= REQUESTS_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#underWay++;
    try {
      return this.#check<T>(type, await this.#ask(type, body, this.#options.patienceMs ?? REQUEST_TIMEOUT_MS));
    } finally {
      this.#underWay--;
      this.#waiting.shift()?.();
    }
  }

  /** Ends it; requests under way fail. */
  close(reason: Error = new DiscoveryError("unreachable", "the connection was closed")): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearInterval(this.#keepAlive);
    this.#end(reason);
    this.#stream?.cancel();
    this.#client.close();
  }

  async #register(): Promise<void> {
    this.#check(
      "ServerCheckRequest",
      await this.#ask("ServerCheckRequest", { module: "internal" }, this.#connectTimeoutMs),
    );
    this.#openStream();
    this.#stream?.write(
      encode("ConnectionSetupRequest", {
        clientVersion: CLIENT_VERSION,
        tenant: this.#options.namespace,
        labels: { source: "sdk", module: "naming", AppName: "sluice" },
        abilityTable: {},
        module: "internal",
      }),
    );
    const giveUp = AbortSignal.timeout(this.#connectTimeoutMs);
    // Some versions acknowledge the registration and some don't; all refuse requests until it is done.
    while (!(await this.#isRegistered())) {
      if (giveUp.aborted) throw new DiscoveryError("unreachable", `${this.server.grpc}: did not register us`);
      await sleep(20);
    }
    // The answer may have been under way while it was closed: nobody would ever stop the timer.
    if (this.#isEnded) return;
    this.#keepAlive = setInterval(() => void this.#checkAlive(), KEEP_ALIVE_INTERVAL_MS);
  }

  async #isRegistered(): Promise<boolean> {
    const { body } = await this.#ask("HealthCheckRequest", { module: "internal" }, this.#connectTimeoutMs);
    if ((body as NacosResponse).errorCode === UNREGISTERED) return false;
    this.#check("HealthCheckRequest", { type: "", body });
    return true;
  }

  async #checkAlive(): Promise<void> {
    try {
      if (!(await this.#isRegistered())) {
        this.close(new DiscoveryError("unreachable", `${this.server.grpc}: the server forgot this connection`));
      }
    } catch (error) {
      this.close(error as Error);
    }
  }

  #openStream(): void {
    const path = "/BiRequestStream/requestBiStream";
    const stream = this.#client.makeBidiStreamRequest(path, serialize, deserialize);
    this.#stream = stream;
    stream.on("data", (payload: Payload) => {
      try {
        this.#receive(decode(payload));
      } catch (error) {
        this.close(error as Error);
      }
    });
    stream.on("error", (error: ServiceError) => this.close(this.#failure(error)));
    stream.on("end", () =>
      this.close(new DiscoveryError("unreachable", `${this.server.grpc}: the server ended the connection`)),
    );
  }

  #receive(message: NacosMessage): void {
    const { type, body } = message;
    const answer = acknowledgements[type];
    if (answer === undefined) return;
    // First told, then acknowledged: an acknowledgement says that the news has arrived where it is used.
    if (type === "NotifySubscriberRequest") this.#options.pushed(message);
    this.#stream?.write(encode(answer, { requestId: body["requestId"], resultCode: 200, errorCode: 0, success: true }));
    if (type === "ConnectResetRequest") this.close(new ConnectionMovedError(`${this.server.grpc} sent us elsewhere`));
  }

  async #ask(type: string, body: object, timeoutMs: number): Promise<NacosMessage> {
    const payload = encode(type, body, await this.#options.headers(resourceOf(body)));
    return await new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        "/Request/request",
        serialize,
        deserialize,
        payload,
        { deadline: Date.now() + timeoutMs },
        (error, answer) => {
          if (error) return reject(this.#failure(error));
          try {
            resolve(decode(answer as Payload));
          } catch (bad) {
            reject(bad as Error);
          }
        },
      );
    });
  }

  #check<T>(type: string, { body }: NacosMessage): T & NacosResponse {
    const { resultCode, errorCode, message } = body as NacosResponse;
    if (resultCode === 200) return body as T & NacosResponse;
    const text = `${this.server.grpc}: ${type}: ${message || "refused"} (code ${errorCode || resultCode})`;
    if (errorCode === NO_RIGHT || resultCode === NO_RIGHT) throw new DiscoveryError("permission_denied", text);
    const isAway = errorCode === UNREGISTERED || errorCode === NOT_UP;
    throw new DiscoveryError(isAway ? "unreachable" : "bad_answer", text);
  }

  #failure(error: ServiceError): DiscoveryError {
    // What grpc-js knows of the reason lies in the middle of a longer text.
    const [, reason = error.details] =
      /Last error: (?:Error: )?(.*?)\.? *(?:Resolution note|$)/.exec(error.details) ?? [];
    // grpc-js tells more of it, of itself rather than of the server.
    const words = error.code === status.DEADLINE_EXCEEDED ? "no answer in time" : reason;
    const text = `${this.server.grpc} (gRPC): ${words}`;
    if (error.code === status.UNAUTHENTICATED) return new DiscoveryError("unauthenticated", text);
    return new DiscoveryError(error.code === status.UNIMPLEMENTED ? "bad_answer" : "unreachable", text);
  }
}

/** The service that a request concerns: all that concern one name it alike. */
function resourceOf(body: object): NacosResource | undefined {
  const { groupName, serviceName = "" } = body as { groupName?: string; serviceName?: string };
  return groupName === undefined ? undefined : { group: groupName, service: serviceName };
}
