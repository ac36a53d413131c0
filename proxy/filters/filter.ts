import type { Headers } from "../headers.ts";
import type { LocalReply } from "../reply.ts";
import type { RequestHead } from "../request.ts";

/** What a filter may do with the request that it was made for. */
export interface FilterStream {
  readonly head: RequestHead;
  /** Answers in place of the rest of the chain. As in Envoy, the reply passes the filters like any response. */
  reply(reply: LocalReply): void;
  /** Goes on after onRequestHead returned "wait". */
  continue(): void;
}

/**
 * One filter at work on one request; each part is optional. Pieces of bodies are valid during the call only: a filter that keeps one copies
 * it. Trailers may be changed in place; those that are left without a field are not sent. One that changes a body's length removes `content-length` when it sees the head, and the message is framed anew.
 */
export interface Filter {
  /** `end`: no body follows. "wait": the filter calls continue() or reply() later; until then no body is read. */
  onRequestHead?(head: RequestHead, end: boolean): "continue" | "wait";
  /** Returns what goes on in its place; undefined: nothing, for now. */
  onRequestData?(piece: Buffer): Buffer | undefined;
  /** Returns what is still to be sent. `trailers`: those of the request, if it has any. */
  onRequestEnd?(trailers: Headers | undefined): Buffer | undefined;
  onResponseHead?(status: number, headers: Headers, end: boolean): void;
  onResponseData?(piece: Buffer): Buffer | undefined;
  onResponseEnd?(trailers: Headers | undefined): Buffer | undefined;
  /** The stream is over, in whatever way. */
  onDestroy?(): void;
}

/** A filter of a listener's chain. */
export interface FilterFactory {
  /** What its listener calls it, and routes that switch it on or off. */
  readonly name: string;
  /** Whether it takes part only in what a route switches it on for. */
  readonly disabled?: boolean;
  /** The filter for one request; undefined: it has no part in this one. */
  create(stream: FilterStream): Filter | undefined;
}
