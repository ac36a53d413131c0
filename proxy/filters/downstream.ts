import type { Headers } from "../headers.ts";

/** The client's side of a stream: what a codec (HTTP/1 here, others beside it) offers for answering one request. */
export interface Downstream {
  /** For X-Forwarded-Proto. */
  readonly scheme: "http" | "https";
  /** Begins the response; `end`: it has no body. The codec frames by content-length if the headers have it. */
  sendHead(status: number, headers: Headers, end: boolean): void;
  /** A 1xx response before the one. */
  sendInformational(status: number, headers: Headers): void;
  /** A piece of the body, valid during the call only. False: wait for onDownstreamWritable(). */
  sendData(bytes: Buffer, from: number, to: number): boolean;
  sendEnd(): void;
  /** Writes what the calls before have gathered; to be called at the end of each event. */
  flush(): void;
  /** Answers 101 and goes over to raw bytes both ways, which sendData and onRequestData then carry; sendEnd closes our half. */
  sendUpgrade(headers: Headers): void;
  /** Stops and resumes reading the request's body. */
  pauseRequest(): void;
  resumeRequest(): void;
  /** Ends a response that cannot be completed so that the client notices. */
  cut(): void;
  /** The connection shall not serve another request after this one. */
  closeAfterResponse(): void;
  /** Asks for the stream's onIdleCheck() within so many ms at most. */
  wakeWithin(ms: number): void;
  /** Body bytes handed over for sending so far. */
  readonly sentBytes: number;
}
