import { parseJson } from "../json.ts";
import { networkWords } from "../network-words.ts";
import { DiscoveryError, type DiscoveryErrorKind } from "../source.ts";

import type { ClusterAccess, Credential } from "./access.ts";
import { LineSplitter } from "./lines.ts";
import { connect, type Reply, type Transport, type TransportTimes, transportTimes } from "./transport.ts";

/** What is read of a Status object, which is how an API server says what is wrong (Kubernetes API conventions, "Response Status Kind"). */
export interface Status {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
}

/** An answer of the API server that is not a success, in the server's own words. */
export class StatusError extends DiscoveryError {
  /** HTTP status code. */
  readonly code: number;

  constructor({ code = 500, reason, message }: Status) {
    const words = [reason, message].filter(Boolean).join(": ").slice(0, WORDS_MAX);
    super(kindOf(code), words ? `HTTP ${code} ${words}` : `HTTP ${code}`);
    this.code = code;
  }
}

const WORDS_MAX = 1_000;
const STATUS_BYTES_MAX = 64 << 10;
/** A page of a list: see LIST_LIMIT in reflect.ts. */
const ANSWER_BYTES_MAX = 64 << 20;

function kindOf(code: number): DiscoveryErrorKind {
  if (code === 401) return "unauthenticated";
  if (code === 403) return "permission_denied";
  // Too busy, or its etcd is away: it says so, and will be back.
  return code === 429 || code >= 500 ? "unreachable" : "bad_answer";
}

/** A client of one cluster's API server: few connections, credentials that renew themselves, errors in the server's words. */
export class KubernetesApi {
  readonly access: ClusterAccess;
  /** Whether to ask for lists as the beginning of a watch; false once the server has shown that it can't. */
  streamsLists = true;
  readonly #times: TransportTimes;
  #transport: { value: Promise<Transport>; credential: Credential } | undefined;
  #isClosed = false;

  constructor(access: ClusterAccess, times: TransportTimes = transportTimes) {
    this.access = access;
    this.#times = times;
  }

  /**
   * The object at `path`.
   * @throws {DiscoveryError} in particular StatusError, whatever goes wrong.
   */
  async get<T>(path: string, signal: AbortSignal): Promise<T> {
    const bytes = await this.bytes(path, signal);
    try {
      return (await parseJson(bytes)) as T;
    } catch {
      throw new DiscoveryError("bad_answer", `${path}: no JSON in an answer of ${bytes.length} bytes`);
    }
  }

  /**
   * What is at `path`, whatever it is.
   * @throws {DiscoveryError} in particular StatusError, whatever goes wrong.
   */
  async bytes(path: string, signal: AbortSignal): Promise<Buffer> {
    const { body } = await this.#open(path, signal);
    return await readAll(body, ANSWER_BYTES_MAX, signal);
  }

  /**
   * The lines of a watch, as many at a time as arrived together. It ends when the server ends the watch.
   * @throws {DiscoveryError} in particular StatusError, whatever goes wrong.
   */
  async *lines(path: string, signal: AbortSignal): AsyncGenerator<string[]> {
    const { body } = await this.#open(path, signal);
    const splitter = new LineSplitter();
    try {
      for await (const chunk of body) {
        const lines = splitter.push(chunk as Buffer);
        if (lines.length > 0) yield lines;
      }
    } catch (error) {
      throw asDiscoveryError(error, signal);
    } finally {
      body.destroy();
    }
    if (splitter.unfinished) throw new DiscoveryError("unreachable", "the watch broke off within a line");
  }

  /** Ends all connections, for good; requests under way fail. */
  close(): void {
    this.#isClosed = true;
    const transport = this.#transport;
    this.#transport = undefined;
    void transport?.value.then(
      (value) => value.close(),
      () => {},
    );
  }

  async #open(path: string, signal: AbortSignal): Promise<Reply> {
    try {
      let credential = await this.access.credentials.get(signal);
      let reply = await this.#send(path, credential, signal);
      if (reply.status === 401) {
        // It may have expired a moment ago: whoever issued it gets one chance to give another.
        this.access.credentials.refused(credential);
        const renewed = await this.access.credentials.get(signal);
        if (!same(renewed, credential)) {
          reply.body.destroy();
          credential = renewed;
          reply = await this.#send(path, credential, signal);
        }
      }
      if (reply.status === 200) return reply;
      throw await statusError(reply, signal);
    } catch (error) {
      throw asDiscoveryError(error, signal, `${this.access.server.origin}: `);
    }
  }

  async #send(path: string, credential: Credential, signal: AbortSignal): Promise<Reply> {
    const transport = await this.#connected(credential, signal);
    const { server } = this.access;
    const headers = {
      accept: "application/json",
      "user-agent": "sluice",
      ...(credential.authorization === undefined ? {} : { authorization: credential.authorization }),
    };
    return await transport.get(server.pathname.replace(/\/$/, "") + path, headers, signal);
  }

  /** The open connection, or a new one: one for all requests, unless the client certificate changed. */
  async #connected(credential: Credential, signal: AbortSignal): Promise<Transport> {
    for (;;) {
      const open = this.#transport;
      if (open !== undefined) {
        const value = await open.value.catch(() => undefined);
        if (value?.usable && open.credential.certificate === credential.certificate) return value;
        if (this.#transport === open) this.#transport = undefined;
        value?.retire();
        continue;
      }
      signal.throwIfAborted();
      // Whoever waited for credentials meanwhile would open one that nobody closes.
      if (this.#isClosed) throw new DiscoveryError("unreachable", "the source was closed");
      // The caller's signal does not end it: others wait for it as well. Its own time limit does.
      const value = connect(this.access, credential, this.#times);
      this.#transport = { value, credential };
      return await value;
    }
  }
}

const same = (a: Credential, b: Credential) => a.authorization === b.authorization && a.certificate === b.certificate;

async function statusError({ status, body }: Reply, signal: AbortSignal): Promise<StatusError> {
  const text = (await readAll(body, STATUS_BYTES_MAX, signal).catch(() => Buffer.alloc(0))).toString("utf8");
  try {
    const { reason, message } = JSON.parse(text) as Status;
    return new StatusError({ code: status, reason, message });
  } catch {
    // A proxy in between, for instance.
    return new StatusError({ code: status, message: text.slice(0, 200).trim() });
  }
}

async function readAll(body: Reply["body"], bytesMax: number, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      if (bytes > bytesMax) throw new DiscoveryError("bad_answer", `an answer of more than ${bytesMax} bytes`);
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    throw asDiscoveryError(error, signal);
  } finally {
    body.destroy();
  }
  return Buffer.concat(chunks);
}

function asDiscoveryError(error: unknown, signal: AbortSignal, whom = ""): unknown {
  if (signal.aborted || error instanceof DiscoveryError) return signal.aborted ? signal.reason : error;
  return new DiscoveryError("unreachable", whom + networkWords(error), { cause: error });
}
