import {
  type ClientHttp2Session,
  type ClientSessionOptions,
  connect,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from "node:http2";

/** What came of one request. */
export interface Http2Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, string>> | undefined;
  /** Of RST_STREAM; 0: none, or NO_ERROR. */
  readonly resetCode: number;
}

/** A client that knows beforehand that the server speaks HTTP/2, or agrees on it by ALPN (scheme https). */
export class Http2Client implements AsyncDisposable {
  readonly session: ClientHttp2Session;
  readonly #origin: string;

  constructor(
    port: number,
    settings: ClientSessionOptions | SecureClientSessionOptions = {},
    scheme: "http" | "https" = "http",
  ) {
    this.#origin = `${scheme}://127.0.0.1:${port}`;
    this.session = connect(this.#origin, settings);
    this.session.on("error", () => {});
  }

  /** Sends a request with a body, if there is one, and trailers, and waits for its end. */
  ask(headers: OutgoingHttpHeaders, body?: string | Buffer, trailers?: OutgoingHttpHeaders): Promise<Http2Answer> {
    const endStream = body === undefined && trailers === undefined;
    const stream = this.session.request(headers, { endStream, waitForTrailers: trailers !== undefined });
    if (trailers !== undefined) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    if (!endStream) stream.end(body);
    return new Promise((resolve) => {
      let answer = { status: 0, headers: {} as Record<string, string> };
      let text = "";
      let after: Record<string, string> | undefined;
      stream.setEncoding("latin1");
      stream
        .on("response", ({ ":status": status, ...rest }) => {
          answer = { status: Number(status), headers: rest as Record<string, string> };
        })
        .on("data", (piece: string) => (text += piece))
        .on("trailers", (fields) => (after = fields as Record<string, string>))
        .on("error", () => {})
        .on("close", () => resolve({ ...answer, body: text, trailers: after, resetCode: stream.rstCode }));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.session.destroyed) return;
    await new Promise<void>((resolve) => {
      this.session.once("close", resolve).destroy();
    });
  }
}
