import type { ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";

type Done = (error?: Error | null) => void;

/**
 * Lets a write that fails because its connection was cut fail as Node names a stream that is gone. connect-node takes that for a caller that
 * hung up; the system's own words for it, such as ECANCELED for a write that still waited, it would print to stderr as a bug.
 */
export function nameHangUps(response: ServerResponse | Http2ServerResponse): void {
  const write = response.write.bind(response) as (chunk: unknown, encoding: BufferEncoding, done?: Done) => boolean;
  const named = (chunk: unknown, encoding: BufferEncoding, done?: Done) =>
    write(chunk, encoding, done && ((error) => done(error && hangUp(error))));
  response.write = named as typeof response.write;
}

function hangUp(error: Error): Error {
  const isCut = "code" in error && (error.code === "ECANCELED" || error.code === "EPIPE");
  return isCut
    ? Object.assign(new Error("the caller is gone", { cause: error }), { code: "ERR_STREAM_DESTROYED" })
    : error;
}
