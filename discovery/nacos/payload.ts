import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { type Payload, PayloadSchema } from "#proto/gen/nacos/grpc_service_pb.ts";

import { DiscoveryError } from "../source.ts";

/** What every answer has. */
export interface NacosResponse {
  /** 200 for success. */
  readonly resultCode?: number;
  readonly errorCode?: number;
  readonly message?: string | null;
}

/** A message as it is read: its type and its JSON. */
export interface NacosMessage {
  readonly type: string;
  readonly body: Readonly<Record<string, unknown>>;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A message for the wire. `headers` carry the token. */
export const encode = (type: string, body: object, headers: Readonly<Record<string, string>> = {}): Payload =>
  create(PayloadSchema, {
    metadata: { type, headers: { ...headers } },
    body: { value: encoder.encode(JSON.stringify(body)) },
  });

/** @throws {DiscoveryError} bad_answer, when the body is no JSON object */
export function decode({ metadata, body }: Payload): NacosMessage {
  const type = metadata?.type ?? "";
  try {
    const json: unknown = JSON.parse(decoder.decode(body?.value));
    if (typeof json === "object" && json !== null) return { type, body: json as NacosMessage["body"] };
  } catch {
    // Said below; never what the body was.
  }
  throw new DiscoveryError("bad_answer", `a ${type || "message"} of the server is no JSON object`);
}

/** For grpc-js. */
export const serialize = (payload: Payload): Buffer => Buffer.from(toBinary(PayloadSchema, payload));

/** For grpc-js. */
export const deserialize = (bytes: Buffer): Payload => fromBinary(PayloadSchema, bytes);
