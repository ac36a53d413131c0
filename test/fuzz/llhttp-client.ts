/** llhttp as a client, in this process: what Node's http.request makes of bytes that an origin sends, and then ends. */
import { type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";

/** A response as one reader read it; strings are latin1. */
export interface ResponseReading {
  readonly status: number;
  /** Names in lower case. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  /** Whether the body came to its end. */
  readonly complete: boolean;
}

class Feed extends Duplex {
  override _read(): void {}

  override _write(_chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    done();
  }
}

/** The final response; undefined: none was read. */
export async function readByLlhttp(bytes: Buffer, method: string): Promise<ResponseReading | undefined> {
  const feed = new Feed();
  let message: IncomingMessage | undefined;
  let body = "";
  const asked = request({ method, createConnection: () => feed as unknown as Socket, maxHeaderSize: 64 * 1024 })
    .on("error", () => {})
    .on("upgrade", () => {})
    .on("response", (response) => {
      message = response.setEncoding("latin1").on("error", () => {});
      response.on("data", (text: string) => (body += text));
    });
  asked.end();
  feed.on("error", () => {});
  await turns(2);
  feed.push(bytes);
  feed.push(null);
  await turns(4);
  asked.destroy();
  if (message === undefined) return undefined;
  const { statusCode = 0, rawHeaders, complete } = message;
  const fields = rawHeaders.flatMap((name, i) =>
    i % 2 === 0 ? [[name.toLowerCase(), rawHeaders[i + 1] ?? ""] as const] : [],
  );
  return { status: statusCode, fields, body, complete };
}

/** Everything happens in this process by ticks and microtasks; each turn of the loop runs all of them. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}
