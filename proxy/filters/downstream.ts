import type { Headers } from "../headers.ts";

/** The head of a request as a codec hands it over, checked: nothing in it could be read in two ways. */
export interface IncomingRequest {
  readonly protocol: "HTTP/1.0" | "HTTP/1.1" | "HTTP/2";
  readonly method: string;
  /** Path and query; "*" of an OPTIONS request; "" of CONNECT. */
  readonly path: string;
  readonly authority: string;
  /** Whether nothing in the path can need to be normalised; undefined: nobody has looked. */
  readonly isPlain?: boolean;
  readonly headers: Headers;
  /** Of the content-length field; -1: none. */
  readonly contentLength: number;
  /** Whether only the end of the body will tell its length. */
  readonly chunked: boolean;
  /** Whether `upgrade` is asked for: by Connection, or by an extended CONNECT (RFC 8441), which comes as the GET that it stands for. */
  readonly connectionUpgrade: boolean;
  readonly upgrade: string;
}

/** The client's side of a stream: what a codec (HTTP/1 here, others beside it) offers for answering one request. */
export interface Downstream {
  /** What a request is told to be of before its head says more. */
  readonly protocol: "HTTP/1.1" | "HTTP/2";
  /** For X-Forwarded-Proto. */
  readonly scheme: "http" | "https";
  /** Begins the response; `end`: it has no body. The codec frames by content-length if the headers have it. */
  sendHead(status: number, headers: Headers, end: boolean): void;
  /** A 1xx response before the one. */
  sendInformational(status: number, headers: Headers): void;
  /** A piece of the body, valid during the call only. False: wait for onDownstreamWritable(). */
  sendData(bytes: Buffer, from: number, to: number): boolean;
  /** The response is complete. `trailers`: what follows its body, if the protocol and the client have room for that. */
  sendEnd(trailers?: Headers): void;
  /** Writes what the calls before have gathered; to be called at the end of each event. */
  flush(): void;
  /** Answers by 101, or 200 to a CONNECT (over HTTP/2 always that), and goes over to raw bytes both ways, which sendData and onRequestData then carry; sendEnd closes our half. */
  sendUpgrade(status: 101 | 200, headers: Headers): void;
  /** Stops and resumes reading the request's body. */
  pauseRequest(): void;
  resumeRequest(): void;
  /** Ends a response that cannot be completed so that the client notices. */
  cut(): void;
  /** The connection shall not serve another request after this one. */
  closeAfterResponse(): void;
  /** Asks for checkStreamTimes() of the stream within so many ms at most. */
  wakeWithin(ms: number): void;
  /** Body bytes handed over for sending so far. */
  readonly sentBytes: number;
}
