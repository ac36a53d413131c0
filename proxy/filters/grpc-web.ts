import type { Headers } from "../headers.ts";
import type { RequestHead } from "../request.ts";
import { isGrpc } from "../grpc-status.ts";
import { Base64Decoder } from "./base64.ts";
import type { Filter, FilterFactory, FilterStream } from "./filter.ts";
import { invalidBase64 } from "../reply.ts";

const BINARY = "application/grpc-web";
const TEXT = "application/grpc-web-text";
/** Marks a frame that holds trailers: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md */
const TRAILERS_FLAG = 0x80;
const FRAME_HEAD_BYTES = 5;

/** Whether a content type is `base`, with or without "+proto" and the like. */
const isType = (type: string | undefined, base: string): boolean =>
  type !== undefined && type.startsWith(base) && (type.length === base.length || type[base.length] === "+");

/**
 * envoy.filters.http.grpc_web: lets browsers, which see no trailers, call gRPC services. Their requests become gRPC; of the response the
 * trailers go into the body as a last frame. In the text form both bodies are base64.
 */
export const grpcWeb: FilterFactory = {
  name: "envoy.filters.http.grpc_web",
  create(stream: FilterStream) {
    const { head } = stream;
    const type = head.headers.get("content-type");
    const text = isType(type, TEXT);
    if (!text && !isType(type, BINARY)) return undefined;
    const accept = head.headers.get("accept");
    return new GrpcWeb(text, isType(accept, TEXT) || (text && !isType(accept, BINARY)), () =>
      stream.reply(invalidBase64),
    );
  },
};

class GrpcWeb implements Filter {
  readonly #decoder: Base64Decoder | undefined;
  readonly #textResponse: boolean;
  readonly #refuse: () => void;
  #transforms = false;

  constructor(textRequest: boolean, textResponse: boolean, refuse: () => void) {
    this.#decoder = textRequest ? new Base64Decoder() : undefined;
    this.#textResponse = textResponse;
    this.#refuse = refuse;
  }

  onRequestHead({ headers }: RequestHead): "continue" {
    // It counts what came from the browser, base64 perhaps.
    headers.remove("content-length");
    headers.set("content-type", "application/grpc");
    headers.set("te", "trailers");
    headers.set("grpc-accept-encoding", "identity,deflate,gzip");
    return "continue";
  }

  onRequestData(piece: Buffer): Buffer | undefined {
    if (this.#decoder === undefined) return piece;
    const decoded = this.#decoder.decode(piece);
    if (decoded === undefined) this.#refuse();
    return decoded;
  }

  onRequestEnd(): undefined {
    if (this.#decoder?.complete === false) this.#refuse();
  }

  onResponseHead(_status: number, headers: Headers): void {
    // What a proxy or the service says outside of gRPC is for the browser as it is.
    if (!isGrpc(headers)) return;
    this.#transforms = true;
    headers.remove("content-length");
    headers.set("content-type", `${this.#textResponse ? TEXT : BINARY}+proto`);
  }

  onResponseData(piece: Buffer): Buffer {
    return this.#transforms ? this.#encode(piece) : piece;
  }

  onResponseEnd(trailers: Headers | undefined): Buffer | undefined {
    if (!this.#transforms || trailers === undefined) return undefined;
    const lines = trailers.names.map((name, i) => `${name}:${trailers.values[i]}\r\n`).join("");
    const frame = Buffer.alloc(FRAME_HEAD_BYTES + lines.length);
    frame[0] = TRAILERS_FLAG;
    frame.writeUInt32BE(lines.length, 1);
    frame.write(lines, FRAME_HEAD_BYTES, "latin1");
    // They have been sent with this.
    trailers.clear();
    return this.#encode(frame);
  }

  /** Each piece is padded by itself, so that a browser can read a message as soon as it is there. */
  #encode(piece: Buffer): Buffer {
    return this.#textResponse ? Buffer.from(piece.toString("base64"), "latin1") : piece;
  }
}
