import type { Headers } from "../headers.ts";
import type { ResponseMessage } from "../http1/response-head.ts";
import type { ResetReason } from "../reply.ts";

/** What a connection tells the attempt that uses it. Pieces of bodies are valid during the call only. */
export interface ResponseReceiver {
  onInformational(message: ResponseMessage): void;
  /** `end`: no body follows, and onResponseEnd() neither. */
  onResponseHead(message: ResponseMessage, end: boolean): void;
  onResponseData(bytes: Buffer, from: number, to: number): void;
  /** `trailers`: what followed the body, if anything did. */
  onResponseEnd(trailers?: Headers): void;
  /** The connection takes more of the request's body again. */
  onUpstreamWritable(): void;
  /** The response will not be completed. `transportFailure`: what the transport said, "" if nothing. */
  onUpstreamReset(reason: ResetReason, transportFailure: string): void;
  /** The calls of one read are over. */
  flush(): void;
}
