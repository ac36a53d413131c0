import { Agent, errors, request } from "undici";

import { DiscoveryError } from "../source.ts";
import { tlsOptions } from "../tls.ts";

import { type NacosServer, type NacosSettings, serversOf } from "./settings.ts";

/** An HTTP answer of any status. */
export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

/** What to ask over HTTP. */
export interface HttpQuestion {
  readonly method: "GET" | "POST";
  /** Below the context path: "/v1/auth/login". */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Of a POST. */
  readonly form?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

const CONNECT_TIMEOUT_MS = 3_000;
const ANSWER_TIMEOUT_MS = 5_000;
const BODY_BYTES_MAX = 64 << 20;
const CONNECTIONS_MAX = 8;
/** How much of an answer that is no success operators see. */
const WORDS_MAX = 300;

/** HTTP to one Nacos cluster. If a server doesn't answer, the next question goes to the next one. */
export class NacosHttp {
  readonly #servers: readonly NacosServer[];
  readonly #agent: Agent;
  #at = 0;

  constructor(settings: NacosSettings) {
    this.#servers = serversOf(settings);
    this.#agent = new Agent({
      connections: CONNECTIONS_MAX,
      headersTimeout: ANSWER_TIMEOUT_MS,
      bodyTimeout: ANSWER_TIMEOUT_MS,
      connect: { timeout: CONNECT_TIMEOUT_MS, ...tlsOptions(settings.tls ?? {}) },
    });
  }

  /**
   * Asks each server until one answers.
   * @throws {DiscoveryError} unreachable, with what the last one said; bad_answer, when one answered something else than HTTP
   */
  async ask(question: HttpQuestion): Promise<HttpAnswer> {
    let last: unknown;
    for (let attempt = 0; attempt < this.#servers.length; attempt++) {
      const server = this.#servers[this.#at % this.#servers.length] as NacosServer;
      try {
        const answer = await this.#send(server, question);
        if (answer.status < 502) return answer;
        last = new DiscoveryError("unreachable", `${server.http}: ${wordsOf(answer)}`);
      } catch (error) {
        question.signal.throwIfAborted();
        if (error instanceof errors.HTTPParserError) {
          throw new DiscoveryError("bad_answer", `${server.http}: an answer that is not HTTP (${error.message})`);
        }
        const words = error instanceof Error ? error.message : String(error);
        last = new DiscoveryError("unreachable", `${server.http}: ${words}`, { cause: error });
      }
      this.#at++;
    }
    throw last;
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #send(server: NacosServer, { method, path, query, form, signal }: HttpQuestion): Promise<HttpAnswer> {
    const url = `${server.http}${path}${query === undefined ? "" : `?${new URLSearchParams(query).toString()}`}`;
    const { statusCode, body } = await request(url, {
      method,
      dispatcher: this.#agent,
      signal,
      ...(form === undefined
        ? {}
        : {
            body: new URLSearchParams(form).toString(),
            headers: { "content-type": "application/x-www-form-urlencoded" },
          }),
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      if (bytes > BODY_BYTES_MAX)
        throw new DiscoveryError("bad_answer", `an answer of more than ${BODY_BYTES_MAX} bytes`);
      chunks.push(chunk as Buffer);
    }
    return { status: statusCode, text: Buffer.concat(chunks).toString("utf8") };
  }
}

/** What a server says is wrong: plain text in Nacos 1, the `message` of an object later. */
export function wordsOf({ status, text }: HttpAnswer): string {
  let words = text;
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string") words = message;
  } catch {
    // Plain text.
  }
  return `HTTP ${status} ${words.slice(0, WORDS_MAX).trim()}`.trim();
}
