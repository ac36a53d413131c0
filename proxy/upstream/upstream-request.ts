/** The upstream's side of a stream, as the stream drives it. */
export interface UpstreamRequest {
  start(): void;
  /** A piece of the request's body, which stays as it is. */
  onRequestData(piece: Buffer): void;
  /** The request is complete; its trailers, if any, are the stream's requestTrailers. */
  onRequestEnd(): void;
  /** The client takes more of the response again. */
  onDownstreamWritable(): void;
  /** The calls of one read are over. */
  flushRequest(): void;
  /** The time for which the stream was to expect the response is over (Stream.expectResponseWithin). */
  onResponseOverdue(): void;
  /** The stream is over. */
  abort(): void;
}
