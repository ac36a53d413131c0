import fc from "fast-check";
import { expect, test } from "vitest";

import { Headers } from "../headers.ts";
import type { LocalReply } from "../reply.ts";
import type { RequestHead } from "../request.ts";
import { Base64Decoder } from "./base64.ts";
import { grpcWeb } from "./grpc-web.ts";

const headersOf = (fields: Record<string, string>): Headers => {
  const headers = new Headers();
  for (const [name, value] of Object.entries(fields)) headers.add(name, value);
  return headers;
};

function open(fields: Record<string, string>) {
  const replies: LocalReply[] = [];
  const head = { headers: headersOf(fields) } as RequestHead;
  const filter = grpcWeb.create({ head, reply: (reply) => void replies.push(reply), continue() {} });
  filter?.onRequestHead?.(head, false);
  return { filter, head, replies };
}

const TRAILERS = "\x80\0\0\0\x20grpc-status:0\r\ngrpc-message:ok\r\n";

test("the binary form changes heads, and puts the trailers into the body", () => {
  const { filter, head } = open({ "content-type": "application/grpc-web+proto", "content-length": "7" });
  expect(head.headers.get("content-type")).toBe("application/grpc");
  expect(head.headers.get("te")).toBe("trailers");
  expect(head.headers.has("content-length")).toBe(false);
  const response = headersOf({ "content-type": "application/grpc" });
  filter?.onResponseHead?.(200, response, false);
  expect(response.get("content-type")).toBe("application/grpc-web+proto");
  const trailers = headersOf({ "grpc-status": "0", "grpc-message": "ok" });
  expect(filter?.onResponseEnd?.(trailers)?.toString("latin1")).toBe(TRAILERS);
  expect(trailers.length).toBe(0);
});

test("the text form is base64 both ways, each piece readable by itself", () => {
  const { filter } = open({ "content-type": "application/grpc-web-text", accept: "application/grpc-web-text" });
  expect(filter?.onRequestData?.(Buffer.from("YWJj"))?.toString()).toBe("abc");
  const response = headersOf({ "content-type": "application/grpc+proto" });
  filter?.onResponseHead?.(200, response, false);
  expect(response.get("content-type")).toBe("application/grpc-web-text+proto");
  expect(filter?.onResponseData?.(Buffer.from("ab"))?.toString()).toBe("YWI=");
  const frame = filter?.onResponseEnd?.(headersOf({ "grpc-status": "0", "grpc-message": "ok" }));
  expect(Buffer.from(frame?.toString() ?? "", "base64").toString("latin1")).toBe(TRAILERS);
});

test("what is no base64, or half a group, is refused", () => {
  for (const body of ["a*bc", "YW=j", "====", "YWJjY"]) {
    const { filter, replies } = open({ "content-type": "application/grpc-web-text" });
    filter?.onRequestData?.(Buffer.from(body));
    filter?.onRequestEnd?.(undefined);
    expect(replies[0]?.status, body).toBe(400);
  }
});

test("other requests, and responses that are not gRPC, pass as they are", () => {
  expect(open({ "content-type": "application/json" }).filter).toBeUndefined();
  expect(open({ "content-type": "application/grpc" }).filter).toBeUndefined();
  const { filter } = open({ "content-type": "application/grpc-web-text" });
  const response = headersOf({ "content-type": "text/plain" });
  filter?.onResponseHead?.(404, response, false);
  expect(response.get("content-type")).toBe("text/plain");
  expect(filter?.onResponseData?.(Buffer.from("no"))?.toString()).toBe("no");
});

test("base64 decodes to the same bytes however it is cut, and whatever padding is inside", () => {
  const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { maxLength: 5 });
  fc.assert(
    fc.property(chunks, fc.integer({ min: 1, max: 7 }), (parts, size) => {
      const text = parts.map((part) => Buffer.from(part).toString("base64")).join("");
      const decoder = new Base64Decoder();
      const decoded: Buffer[] = [];
      for (let i = 0; i < text.length; i += size) {
        decoded.push(decoder.decode(Buffer.from(text.slice(i, i + size))) ?? Buffer.from("refused"));
      }
      expect(decoder.complete).toBe(true);
      expect(Buffer.concat(decoded)).toEqual(Buffer.concat(parts));
    }),
  );
});
