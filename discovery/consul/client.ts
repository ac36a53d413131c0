import { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import { Agent, buildConnector, type Dispatcher } from "undici";

import { parseJson } from "../json.ts";
import { networkWords } from "../network-words.ts";
import { DiscoveryError } from "../source.ts";
import { tlsOptions } from "../tls.ts";
import { CONNECTIONS_MAX_DEFAULT, type ConsulSettings } from "./settings.ts";

/** Bytes of one answer; one with more is refused. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;

const CONNECT_TIMEOUT_MS = 3_000;
/** Of an answer whose head has arrived. */
const BODY_TIMEOUT_MS = 15_000;
/** Finds out about connections that died in silence. */
const KEEP_ALIVE_DELAY_MS = 15_000;

/** Of a client's connections, those for questions that are answered at once. */
const ASK_CONNECTIONS_MAX = 4;
/** Over TLS, Consul speaks HTTP/2; Go's server allows 250 by default. */
const STREAMS_PER_CONNECTION = 200;

/** What Consul answered. */
export interface ConsulAnswer {
  /** Undefined if the index is the known one. */
  readonly body: unknown;
  /** X-Consul-Index; 0 if there is none. */
  readonly index: number;
  /** Whether ACLs hid something (X-Consul-Results-Filtered-By-ACLs). */
  readonly filteredByAcls: boolean;
}

/** What to ask. */
export interface ConsulQuestion {
  /** From the root, encoded: "/v1/health/service/orders". */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** Of a POST, as JSON. */
  readonly post?: unknown;
  readonly signal: AbortSignal;
  /** How long the answer may take. */
  readonly timeoutMs: number;
  /** An answer with this index is the one that is known: its body is not read. */
  readonly knownIndex?: number;
}

/** HTTP to one Consul cluster. If an address doesn't answer, the next question goes to the next one. */
export class ConsulClient {
  readonly #settings: ConsulSettings;
  readonly #asking: Dispatcher;
  readonly #watching: Dispatcher;
  #at = 0;

  /** @param onCapacity told how many blocking questions may be open at once, when that is another number than before */
  constructor(settings: ConsulSettings, onCapacity: (questions: number) => void = () => {}) {
    this.#settings = settings;
    const watching = watchConnections(settings);
    const open = buildConnector({
      timeout: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
      allowH2: true,
      ...tlsOptions(settings.tls ?? {}),
    });
    const connect: buildConnector.connector = (options, callback) =>
      open(options, (...result) => {
        const [, socket] = result;
        // Where it failed, the second of the two isn't there at all.
        if (socket instanceof Socket) {
          const isHttp2 = socket instanceof TLSSocket && socket.alpnProtocol === "h2";
          onCapacity(isHttp2 ? watching * STREAMS_PER_CONNECTION : watching);
        }
        callback(...result);
      });
    const agent = (connections: number) =>
      new Agent({
        ...{ connections, pipelining: 1, allowH2: true, connect },
        h2Options: { maxConcurrentStreams: STREAMS_PER_CONNECTION },
      });
    this.#asking = agent(ASK_CONNECTIONS_MAX);
    this.#watching = agent(watching);
  }

  /** Whether questions carry a token. */
  get hasToken(): boolean {
    return this.#settings.token !== undefined && this.#settings.token !== "";
  }

  /** Asks something that is answered at once. @throws DiscoveryError */
  async ask(question: ConsulQuestion): Promise<ConsulAnswer> {
    // The time of all that it takes: an address that swallows connections is to be found out while whoever asks still waits.
    return await this.#send(question, this.#asking, AbortSignal.timeout(question.timeoutMs));
  }

  /** Asks something that is answered when it changes. @throws DiscoveryError */
  async askBlocking(question: ConsulQuestion): Promise<ConsulAnswer> {
    return await this.#send(question, this.#watching);
  }

  async close(): Promise<void> {
    await Promise.all([this.#asking.destroy(), this.#watching.destroy()]);
  }

  /** @param limit ends it as a failure of the address */
  async #send(question: ConsulQuestion, dispatcher: Dispatcher, limit?: AbortSignal): Promise<ConsulAnswer> {
    const { path, query, post, timeoutMs, knownIndex } = question;
    const signal = limit === undefined ? question.signal : AbortSignal.any([question.signal, limit]);
    const at = this.#at;
    const address = this.#settings.addresses[at % this.#settings.addresses.length] ?? "";
    let answer: Dispatcher.ResponseData;
    let bytes: Buffer;
    let index: number;
    try {
      answer = await dispatcher.request({
        ...{ origin: new URL(address).origin, path: `${path}${queryText(query)}` },
        ...{ signal, headersTimeout: timeoutMs, bodyTimeout: BODY_TIMEOUT_MS },
        method: post === undefined ? "GET" : "POST",
        headers: this.hasToken ? { "x-consul-token": this.#settings.token ?? "" } : {},
        ...(post !== undefined && { body: JSON.stringify(post) }),
      });
      index = Number(answer.headers["x-consul-index"] ?? 0) || 0;
      if (answer.statusCode === 200 && index === knownIndex && index > 0) {
        await answer.body.dump({ limit: BODY_BYTES_MAX, signal });
        return { body: undefined, index, filteredByAcls: false };
      }
      bytes = await readBody(answer, address);
    } catch (error) {
      if (!question.signal.aborted) this.#giveUp(at);
      if (error instanceof DiscoveryError) throw error;
      const words = limit?.aborted === true ? `no answer within ${timeoutMs / 1000} s` : networkWords(error);
      throw new DiscoveryError("unreachable", `${address}: ${words}`, { cause: error });
    }
    const failure = failureOf(answer.statusCode, bytes, address, path);
    if (failure !== undefined) {
      // Any other server would know no way to the datacenter either.
      if (failure.kind === "unreachable" && !failure.message.includes(NO_DATACENTER)) this.#giveUp(at);
      throw failure;
    }
    return {
      body: await parse(bytes, address),
      index,
      filteredByAcls: answer.headers["x-consul-results-filtered-by-acls"] === "true",
    };
  }

  /** The address failed: the next one's turn, unless another question found out first. */
  #giveUp(at: number): void {
    if (this.#at === at) this.#at = (at + 1) % this.#settings.addresses.length;
  }
}

/** "?a=b&c=", or nothing. By hand: a hundred questions a second are asked, of which a URL object would be a fifth of the work. */
function queryText(query: ConsulQuestion["query"]): string {
  let text = "";
  for (const name in query) {
    const value = query[name];
    if (value !== undefined) text += `${text === "" ? "?" : "&"}${name}=${encodeURIComponent(value)}`;
  }
  return text;
}

async function readBody(answer: Dispatcher.ResponseData, address: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > BODY_BYTES_MAX) {
      answer.body.destroy();
      throw new DiscoveryError("bad_answer", `${address}: the answer is larger than ${BODY_BYTES_MAX} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const WORDS_LENGTH_MAX = 300;
const NO_DATACENTER = "No path to datacenter";

function failureOf(status: number, body: Buffer, address: string, path: string): DiscoveryError | undefined {
  if (status >= 200 && status < 300) return undefined;
  const text = body.toString("utf8");
  const words = `${address}: ${status} ${text.trim().slice(0, WORDS_LENGTH_MAX)}`;
  // "ACL not found": the token is unknown; "Permission denied": it is known and may not.
  if (status === 403 && /ACL not found/i.test(text)) {
    return new DiscoveryError("unauthenticated", `${words}: Consul doesn't know the token`);
  }
  if (status === 401) return new DiscoveryError("unauthenticated", words);
  if (status === 403) return new DiscoveryError("permission_denied", words);
  if (status === 429) {
    const hint =
      "Consul's limits.http_max_conns_per_client (200 by default) is reached; the registry's max_connections must stay below it";
    return new DiscoveryError("unreachable", `${words}: ${hint}`);
  }
  // With the streaming backend, a filter that can't be read is answered by 500.
  if (status === 500 && /boolean expression/.test(text)) return new DiscoveryError("bad_settings", words);
  if (status === 500 && text.includes(NO_DATACENTER)) {
    return new DiscoveryError(
      "unreachable",
      `${words}: is the datacenter's name right, and does this cluster know it?`,
    );
  }
  if (status === 400) return new DiscoveryError("bad_settings", words);
  if (status >= 500) return new DiscoveryError("unreachable", words);
  return new DiscoveryError("bad_answer", `${words} (${path})`);
}

async function parse(bytes: Buffer, address: string): Promise<unknown> {
  return await parseJson(bytes).catch((error: unknown) => {
    throw new DiscoveryError("bad_answer", `${address}: ${networkWords(error)}`);
  });
}

/** How many connections may hold blocking questions. */
export const watchConnections = ({ connectionsMax = CONNECTIONS_MAX_DEFAULT }: ConsulSettings): number =>
  Math.max(1, connectionsMax - ASK_CONNECTIONS_MAX);
