import { DiscoveryError } from "../source.ts";

import { type NacosHttp, wordsOf } from "./http.ts";

/** Newest first: Nacos 3 has the old one only where it is told to be compatible. */
const paths = ["/v3/auth/user/login", "/v1/auth/login"] as const;
/** Of the time that a token is good for, the part after which it is renewed. */
const RENEW_AFTER = 0.8;
const LOGIN_TIMEOUT_MS = 10_000;

/** The token that requests carry: got by user name and password, and renewed before it expires. */
export class NacosLogin {
  readonly #http: NacosHttp;
  readonly #username: string;
  readonly #password: string;
  readonly #now: () => number;
  #token: { value: string; renewAtMs: number } | undefined;
  #running: Promise<string> | undefined;

  /** @param now a clock in ms that never goes back */
  constructor(http: NacosHttp, username = "", password = "", now: () => number = () => performance.now()) {
    this.#http = http;
    this.#username = username;
    this.#password = password;
    this.#now = now;
  }

  /** Whether there is somebody to log in as. */
  get needed(): boolean {
    return this.#username !== "";
  }

  /**
   * The token to use now; "" if none is needed. Requests that come while a login is under way wait for it.
   * @throws {DiscoveryError} unauthenticated, with the server's words, when the login is refused
   */
  async token(): Promise<string> {
    if (!this.needed) return "";
    if (this.#token !== undefined && this.#now() < this.#token.renewAtMs) return this.#token.value;
    this.#running ??= this.#login().finally(() => (this.#running = undefined));
    return await this.#running;
  }

  /** Forgets the token that a server refused, unless it was replaced meanwhile. */
  refused(token: string): void {
    if (this.#token?.value === token) this.#token = undefined;
  }

  async #login(): Promise<string> {
    const form = { username: this.#username, password: this.#password };
    const signal = AbortSignal.timeout(LOGIN_TIMEOUT_MS);
    for (const path of paths) {
      const answer = await this.#http.ask({ method: "POST", path, form, signal }).catch((error: unknown) => {
        if (!(error instanceof DiscoveryError) || error.kind !== "bad_answer") throw error;
        // Nacos 2.2 refuses a password with a status code that HTTP doesn't have.
        throw this.#refusal(error.message, error);
      });
      // Nacos 2 answers 501 to paths that it doesn't know, others 404; the next path may be known.
      if ((answer.status === 404 || answer.status === 501) && path !== paths.at(-1)) continue;
      const token = tokenOf(answer.text);
      if (answer.status !== 200 || token === undefined) {
        throw this.#refusal(wordsOf(answer));
      }
      this.#token = { value: token.value, renewAtMs: this.#now() + token.ttlSeconds * 1000 * RENEW_AFTER };
      return token.value;
    }
    throw new DiscoveryError("bad_answer", "no way to log in");
  }

  /** Nacos' own words are a status code of any kind, by its version, and seldom say what is wrong. */
  #refusal(words: string, cause?: unknown): DiscoveryError {
    const message = `login as ${this.#username}: refused, is the password right? ${words}`;
    return new DiscoveryError("unauthenticated", message, { cause });
  }
}

function tokenOf(text: string): { value: string; ttlSeconds: number } | undefined {
  try {
    const { accessToken, tokenTtl } = JSON.parse(text) as { accessToken?: unknown; tokenTtl?: unknown };
    if (typeof accessToken !== "string" || accessToken === "") return undefined;
    return { value: accessToken, ttlSeconds: Number(tokenTtl) || 0 };
  } catch {
    return undefined;
  }
}
