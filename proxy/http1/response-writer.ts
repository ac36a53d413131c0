import type { Socket } from "node:net";

import type { Headers } from "../headers.ts";
import { Outbox } from "./outbox.ts";
import type { RequestMessage } from "./request-head.ts";
import { isBodiless, statusLine } from "./write.ts";

/** Writes the responses of one connection, each with exactly one framing (RFC 9112, 6). */
export class ResponseWriter {
  /** Whether the current response is there to its last byte. */
  done = false;

  readonly #out: Outbox;
  #method = "";
  #isHttp10 = false;
  #raw = false;

  /** `onUnsent`: called when the kernel didn't take at once what was flushed. */
  constructor(socket: Socket, onUnsent: () => void) {
    this.#out = new Outbox(socket, onUnsent);
  }

  /** Body bytes of the current response so far. */
  get bodyBytes(): number {
    return this.#out.bodyBytes;
  }

  /** Bytes of responses that were written and the kernel hasn't taken yet. */
  get unsentBytes(): number {
    return this.#out.unsentBytes;
  }

  /** Prepares for the response to a request; undefined: to one that could not be read. */
  begin(message: RequestMessage | undefined): void {
    this.done = false;
    this.#out.bodyBytes = 0;
    this.#method = message?.method ?? "";
    this.#isHttp10 = message?.isHttp10 === true;
  }

  /**
   * The head; `end`: no body follows; `close`: the connection closes after the response. Returns whether it must close, which is also so
   * where only its end can tell the end of the body.
   */
  head(status: number, headers: Headers, end: boolean, close: boolean): boolean {
    const out = this.#out;
    let text = statusLine(status) + headers.toLines();
    const hasLength = headers.has("content-length");
    const bodiless = isBodiless(status, this.#method);
    let closes = close;
    if (bodiless || end) {
      out.framing = "none";
      if (!bodiless && !hasLength) text += "content-length: 0\r\n";
      // What a GET would get, as Envoy says it (RFC 9112, 6.1).
      else if (this.#method === "HEAD" && !hasLength && !this.#isHttp10 && !isBodiless(status, ""))
        text += "transfer-encoding: chunked\r\n";
    } else if (hasLength) {
      out.framing = "length";
    } else if (this.#isHttp10) {
      // 1.0 knows no chunks.
      out.framing = "raw";
      closes = true;
    } else {
      out.framing = "chunked";
      text += "transfer-encoding: chunked\r\n";
    }
    if (closes) text += "connection: close\r\n";
    else if (this.#isHttp10) text += "connection: keep-alive\r\n";
    out.head(`${text}\r\n`);
    if (end) this.done = true;
    return closes;
  }

  /** 100, to a request that waits for it. */
  continue(): void {
    this.#out.head("HTTP/1.1 100 Continue\r\n\r\n");
    this.#out.flush();
  }

  /** A 1xx response; not to 1.0 clients, which don't know them. */
  informational(status: number, headers: Headers): void {
    if (!this.#isHttp10) this.#out.head(`${statusLine(status)}${headers.toLines()}\r\n`);
  }

  /** 101, or 200 to a CONNECT, after which bytes go out as they are (RFC 9110, 9.3.6). */
  upgrade(status: 101 | 200, headers: Headers): void {
    this.#out.head(`${statusLine(status)}${headers.toLines()}\r\n`);
    this.#out.framing = "raw";
    this.#raw = true;
  }

  /** A piece of the body, valid during the call only. False: the socket has enough, wait for its "drain". */
  data(bytes: Buffer, from: number, to: number): boolean {
    return this.#out.data(bytes, from, to, false);
  }

  end(): void {
    if (this.#raw) this.#out.endSocket();
    else this.#out.end();
    this.done = true;
  }

  /** What has gathered is to leave at the end of the turn. */
  flush(): void {
    this.#out.flush();
  }

  /** Writes what has gathered. */
  writeGathered(): void {
    this.#out.writeGathered();
  }

  /** Writes what has gathered, and ends our half of the connection. */
  endSocket(): void {
    this.#out.endSocket();
  }
}
