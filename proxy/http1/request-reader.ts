import type { Http1Stats } from "../listen/context.ts";
import { type BodySink, BodyReader } from "./body.ts";
import { HeadReader } from "./head-reader.ts";
import { parseRequestHead, type RequestLimits, RequestMessage } from "./request-head.ts";
import { Violation, violations } from "./violation.ts";

/** Takes the requests of a connection as they are read. */
export interface RequestHandler extends BodySink {
  /** The first bytes of a head have come, the last haven't. */
  onHeadBegun(): void;
  /** `end`: the request has no body, and onRequestEnd() doesn't follow. */
  onRequestHead(message: RequestMessage, end: boolean): void;
  onRequestEnd(): void;
  /** What came is not HTTP/1.1 as we take it; nothing after it can be trusted. `inBody`: the head was fine. */
  onViolation(violation: Violation, inBody: boolean): void;
}

/** Reads the requests of one connection, one after the other. */
export class RequestReader {
  /** Whether a head has been read, and its body hasn't been to its end. */
  inBody = false;

  readonly #handler: RequestHandler;
  readonly #isSecure: boolean;
  readonly #stats: Http1Stats;
  readonly #head = new HeadReader(true);
  readonly #body = new BodyReader();

  constructor(handler: RequestHandler, isSecure: boolean, stats: Http1Stats) {
    this.#handler = handler;
    this.#isSecure = isSecure;
    this.#stats = stats;
  }

  /** Whether a part of a head has been read. */
  get inHead(): boolean {
    return this.#head.started;
  }

  /**
   * Reads bytes from `at` on, up to the end of a head, of a body, or of the bytes; the handler has then been called. Returns where it stopped:
   * at the end of the bytes also when there was a violation.
   */
  read(bytes: Buffer, at: number, maxHeadBytes: number, limits: RequestLimits): number {
    if (this.inBody) return this.#readBody(bytes, at);
    const head = this.#head;
    // Nearly all heads come whole, and reading one tells where it ends.
    if (head.mayBeginAt(bytes, at)) {
      const whole = parseRequestHead({ bytes, from: at, to: bytes.length }, limits, this.#isSecure);
      if (whole instanceof RequestMessage && whole.bodyAt - at <= maxHeadBytes) {
        head.wasRead();
        return this.#begin(whole, whole.bodyAt);
      }
    }
    const begun = head.started;
    if (!head.read(bytes, at, bytes.length, maxHeadBytes)) {
      if (head.violation !== undefined) this.#handler.onViolation(head.violation, false);
      else if (!begun && head.started) this.#handler.onHeadBegun();
      return bytes.length;
    }
    const message = parseRequestHead(head, limits, this.#isSecure);
    if (message instanceof Violation) {
      if (message === violations.underscore) this.#stats.requests_rejected_with_underscores_in_headers.inc();
      this.#handler.onViolation(message, false);
      return bytes.length;
    }
    return this.#begin(message, head.next);
  }

  /** Hands a head over. Returns where its body begins. */
  #begin(message: RequestMessage, next: number): number {
    if (message.chunked) this.#body.startChunked();
    else this.#body.startLength(Math.max(0, message.contentLength));
    if (message.droppedFields > 0) this.#stats.dropped_headers_with_underscores.inc(message.droppedFields);
    this.inBody = !this.#body.done;
    this.#handler.onRequestHead(message, !this.inBody);
    return next;
  }

  #readBody(bytes: Buffer, at: number): number {
    const body = this.#body;
    const next = body.read(bytes, at, bytes.length, this.#handler);
    if (body.violation !== undefined) {
      this.#handler.onViolation(body.violation, true);
      return bytes.length;
    }
    if (body.done) {
      this.inBody = false;
      this.#handler.onRequestEnd();
    }
    return next;
  }
}
