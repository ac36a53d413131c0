/** REST discovery (T6): POST /v3/discovery:TYPE with a DiscoveryRequest in JSON, answered by a DiscoveryResponse in JSON. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { createRegistry, fromBinary, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import {
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from "#envoy/service/discovery/v3/discovery_pb.ts";
import { registry } from "#proto/registry.ts";
import { type ServedType, servedTypes } from "#proto/resource-types.ts";

import { fetchPaths } from "./fetch-services.ts";
import { fetchOnce } from "./fetch.ts";
import { credentialsOfRequest } from "./join.ts";
import type { StreamContext } from "./stream-context.ts";

/** Of a request: a node with its extensions, and names. */
const BODY_BYTES_MAX = 4 * 1024 * 1024;
const REQUESTS_MAX = 100;

const anys = createRegistry(registry, ...servedTypes.map(({ schema }) => schema));

/** HTTP statuses of what a request can be refused with. */
const httpStatus: Partial<Record<status, number>> = {
  [status.INVALID_ARGUMENT]: 400,
  [status.UNAUTHENTICATED]: 401,
  [status.PERMISSION_DENIED]: 403,
  [status.RESOURCE_EXHAUSTED]: 429,
  [status.UNAVAILABLE]: 503,
};

/** Answers the requests of REST discovery, and 404 to anything else. */
export function restHandler(context: StreamContext): (request: IncomingMessage, response: ServerResponse) => void {
  let open = 0;
  return (request, response) => {
    const type = fetchPaths.get((request.url ?? "").split("?", 1)[0] ?? "");
    if (type === undefined) return refuse(request, response, 404, "there is nothing here but POST /v3/discovery:TYPE");
    if (request.method !== "POST") return refuse(request, response, 405, "only POST");
    // As with gRPC: who can join nothing takes no place.
    const stranger = context.join.strangerRefusal(credentialsOfRequest(request));
    if (stranger !== undefined) return refuse(request, response, httpStatus[stranger.code] ?? 500, stranger.details);
    if (open >= REQUESTS_MAX) return refuse(request, response, 429, "too many requests at once");
    open++;
    response.once("close", () => open--);
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= BODY_BYTES_MAX) chunks.push(chunk);
      else refuse(request, response, 413, `the request is larger than ${BODY_BYTES_MAX} bytes`);
    });
    request.on("end", () => {
      if (!response.headersSent) answer(type, Buffer.concat(chunks).toString("utf8"), request, response, context);
    });
  };
}

function answer(
  type: ServedType,
  body: string,
  request: IncomingMessage,
  response: ServerResponse,
  context: StreamContext,
): void {
  let decoded: DiscoveryRequest;
  try {
    decoded = fromJsonString(DiscoveryRequestSchema, body, { registry: anys, ignoreUnknownFields: true });
  } catch {
    return refuse(request, response, 400, "the body is no DiscoveryRequest in JSON");
  }
  try {
    const fetched = fetchOnce(context, type, decoded, credentialsOfRequest(request));
    if (fetched === "unchanged") {
      response.writeHead(304).end();
    } else if ("code" in fetched) {
      refuse(request, response, httpStatus[fetched.code] ?? 500, fetched.details);
    } else {
      const text = toJsonString(DiscoveryResponseSchema, fromBinary(DiscoveryResponseSchema, fetched.bytes), {
        registry: anys,
      });
      response.writeHead(200, { "content-type": "application/json" }).end(text);
    }
  } catch (error) {
    context.log.error({ err: error, type: type.shortName }, "REST discovery failed");
    refuse(request, response, 500, "the control plane failed to answer; its log says why");
  }
}

function refuse(request: IncomingMessage, response: ServerResponse, code: number, why: string): void {
  if (response.headersSent) return;
  // What is left of the request is not read.
  response.writeHead(code, { "content-type": "text/plain; charset=utf-8", connection: "close" }).end(`${why}\n`);
  request.resume();
}
