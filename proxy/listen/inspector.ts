import type { Socket } from "node:net";

import { CLIENT_HELLO_BYTES_MAX, readClientHello } from "./client-hello.ts";
import { PROXY_HEADER_BYTES_MAX, type ProxySource, type ProxyVersions, readProxyHeader } from "./proxy-protocol.ts";
import { Timer, type TimerOwner, timers } from "./timers.ts";

/** What the listener filters of a listener look at, before its filter chain is chosen. */
export interface Inspection {
  /** The proxy_protocol filter; `optional`: connections without a header are taken. */
  readonly proxyProtocol: (ProxyVersions & { readonly optional: boolean }) | undefined;
  /** The tls_inspector filter. */
  readonly tls: boolean;
  /** The http_inspector filter. */
  readonly http: boolean;
  /** For all of it together; 0: no limit. */
  readonly timeoutMs: number;
  /** Whether a connection that says too little in that time goes on with what is known; else it is closed. */
  readonly continueOnTimeout: boolean;
}

/** What was found. */
export interface Inspected {
  /** What a PROXY header said. */
  readonly source: ProxySource | undefined;
  readonly transportProtocol: "tls" | "raw_buffer";
  readonly serverName: string;
  readonly applicationProtocols: readonly string[];
}

/** Nothing was looked at. */
export const NOT_INSPECTED: Inspected = {
  source: undefined,
  transportProtocol: "raw_buffer",
  serverName: "",
  applicationProtocols: [],
};

/** A request line that is longer is no business of the http_inspector. */
const REQUEST_LINE_BYTES_MAX = 8192;
const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/**
 * Looks at the first bytes of a connection, and puts back those that belong to what follows. Afterwards the socket is paused. The callback gets
 * what was found, or undefined if the connection was closed meanwhile, be it by us. It holds a bounded number of bytes.
 */
export class Inspector implements TimerOwner {
  readonly #socket: Socket;
  readonly #inspection: Inspection;
  readonly #done: (found: Inspected | undefined) => void;
  readonly #timer: Timer = new Timer(this, 0);
  #bytes: Buffer = Buffer.alloc(0);
  #proxyDone: boolean;
  #source: ProxySource | undefined = undefined;
  #ended = false;

  constructor(socket: Socket, inspection: Inspection, done: (found: Inspected | undefined) => void) {
    this.#socket = socket;
    this.#inspection = inspection;
    this.#done = done;
    this.#proxyDone = inspection.proxyProtocol === undefined;
    if (inspection.timeoutMs > 0) timers.schedule(this.#timer, inspection.timeoutMs);
    socket.on("data", this.#onData).on("end", this.#onEnd).on("error", this.#onError).on("close", this.#onClose);
  }

  onTimer(): void {
    if (this.#inspection.continueOnTimeout) this.#finish(this.#found("raw_buffer", "", []));
    else this.#socket.destroy();
  }

  readonly #onData = (bytes: Buffer): void => {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    if (!this.#proxyDone && !this.#readProxyHeader()) return;
    const found = this.#look();
    if (found !== undefined) this.#finish(found);
  };

  // A client that closes its half before we know what it is has nothing to say.
  readonly #onEnd = (): void => {
    if (this.#bytes.length === 0) this.#socket.destroy();
    else this.#finish(this.#found("raw_buffer", "", []));
  };
  readonly #onError = (): void => {};
  readonly #onClose = (): void => this.#finish(undefined);

  /** False: more bytes are needed, or the connection is closed. */
  #readProxyHeader(): boolean {
    const versions = this.#inspection.proxyProtocol;
    if (versions === undefined) return true;
    const header = readProxyHeader(this.#bytes, versions);
    switch (header.kind) {
      case "incomplete":
        if (this.#bytes.length > PROXY_HEADER_BYTES_MAX) this.#socket.destroy();
        return false;
      case "header":
        this.#source = header.source;
        this.#bytes = this.#bytes.subarray(header.length);
        break;
      case "none":
        if (versions.optional) break;
        this.#socket.destroy();
        return false;
      case "malformed":
        this.#socket.destroy();
        return false;
    }
    this.#proxyDone = true;
    return true;
  }

  /** Undefined: more bytes are needed. */
  #look(): Inspected | undefined {
    const { tls, http } = this.#inspection;
    if (tls) {
      const hello = readClientHello(this.#bytes);
      if (hello.kind === "hello") return this.#found("tls", hello.serverName, hello.applicationProtocols);
      if (hello.kind === "incomplete") {
        return this.#bytes.length > 2 * CLIENT_HELLO_BYTES_MAX ? this.#found("raw_buffer", "", []) : undefined;
      }
    }
    if (http) {
      const protocol = httpProtocol(this.#bytes);
      if (protocol === undefined) return undefined;
      return this.#found("raw_buffer", "", protocol === "" ? [] : [protocol]);
    }
    return this.#found("raw_buffer", "", []);
  }

  #found(
    transportProtocol: Inspected["transportProtocol"],
    serverName: string,
    applicationProtocols: readonly string[],
  ): Inspected {
    return { source: this.#source, transportProtocol, serverName, applicationProtocols };
  }

  #finish(found: Inspected | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    timers.cancel(this.#timer);
    const socket = this.#socket;
    socket.off("data", this.#onData).off("end", this.#onEnd).off("close", this.#onClose);
    if (found !== undefined) {
      socket.pause();
      if (this.#bytes.length > 0) socket.unshift(this.#bytes);
    }
    this.#done(found);
    // Until others listen for errors, we do.
    socket.off("error", this.#onError);
  }
}

/** "h2c", "http/1.1", "http/1.0", "" for something else, or undefined if that can't be told yet. */
function httpProtocol(bytes: Buffer): string | undefined {
  const text = bytes.toString("latin1", 0, REQUEST_LINE_BYTES_MAX);
  if (text.startsWith(HTTP2_PREFACE)) return "h2c";
  if (HTTP2_PREFACE.startsWith(text)) return undefined;
  const end = text.indexOf("\n");
  if (end < 0)
    return text.length < REQUEST_LINE_BYTES_MAX && /^[!#$%&'*+.^_`|~0-9A-Za-z-]* ?/.test(text) ? undefined : "";
  return / HTTP\/(1\.[01])\r?$/.exec(text.slice(0, end))?.[1]?.replace(/^/, "http/") ?? "";
}
