/** The second reader: llhttp as Node's http module uses it, in this process. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Duplex } from "node:stream";

import { type ReadRequest, type RequestReading, targetParts } from "./reading.ts";

/** A connection whose input is given by hand; http.Server takes any Duplex that its "connection" event is emitted with. */
class Feed extends Duplex {
  readonly reading: RequestReading = { requests: [], refused: false };
  /** The messages behind the requests of the reading. */
  readonly messages: IncomingMessage[] = [];

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    done();
  }
}

const readingOf = (request: IncomingMessage): RequestReading => (request.socket as unknown as Feed).reading;

function onRequest(request: IncomingMessage, response: ServerResponse): void {
  const { rawHeaders } = request;
  const fields: ReadRequest["fields"] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    fields.push([(rawHeaders[i] as string).toLowerCase(), rawHeaders[i + 1] as string]);
  }
  const host = fields.find(([name]) => name === "host")?.[1] ?? "";
  const { authority, path } = targetParts(request.url ?? "", host);
  const read: ReadRequest = {
    method: request.method ?? "",
    target: path,
    authority,
    fields,
    body: "",
    complete: false,
  };
  readingOf(request).requests.push(read);
  request.setEncoding("latin1");
  request.on("data", (text: string) => (read.body += text));
  request.on("error", () => {});
  request.on("end", () => response.end());
  (request.socket as unknown as Feed).messages.push(request);
}

/** Reads bytes by llhttp in its strict mode. */
export class LlhttpReader {
  readonly #server: Server;

  constructor() {
    this.#server = createServer({
      maxHeaderSize: 64 * 1024,
      insecureHTTPParser: false,
      // Otherwise what follows a request that asks for an upgrade would not be read as HTTP.
      shouldUpgradeCallback: () => false,
    });
    this.#server.on("request", onRequest).on("checkContinue", onRequest).on("checkExpectation", onRequest);
    this.#server.on("clientError", (_error, socket) => {
      // It is left open, or the bodies of the requests before would be lost that have been read and not handed over yet.
      (socket as unknown as Feed).reading.refused = true;
    });
  }

  async read(bytes: Buffer): Promise<RequestReading> {
    const feed = new Feed();
    feed.on("error", () => {});
    this.#server.emit("connection", feed);
    feed.push(bytes);
    // Everything happens in this process by ticks and microtasks; each turn of the loop runs all of them. Two for responses that free the next one.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    const { requests, refused } = feed.reading;
    // What happens from here on is the end of the connection, and no reading of the bytes.
    const reading = {
      requests: requests.map((request, i) => ({ ...request, complete: feed.messages[i]?.complete === true })),
      refused,
    };
    feed.destroy();
    return reading;
  }
}
