import type { RequestRecord } from "./observe/access-log.ts";

/** gRPC's status codes by number, as GRPC_STATUS(CAMEL_STRING) writes them. */
export const grpcStatusNames = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
] as const;

const UNKNOWN = 2;

/** What an HTTP status means to a gRPC client (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md). */
const fromHttp: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  502: 14,
  503: 14,
  504: 14,
};

/** The gRPC status of an answer that has none of its own (Envoy Grpc::Utility::httpToGrpcStatus). */
export const grpcStatusOfHttp = (status: number): number => fromHttp[status] ?? UNKNOWN;

/** The gRPC status of a response: of its trailers, else of its head, else what its HTTP status means (Envoy Grpc::Common::getGrpcStatus). */
export function grpcStatus({ responseTrailers, responseHeaders, status }: RequestRecord): number | undefined {
  const text = responseTrailers?.get("grpc-status") ?? responseHeaders?.get("grpc-status");
  if (text !== undefined && /^[0-9]{1,10}$/.test(text)) return Number(text);
  return status === 0 ? undefined : grpcStatusOfHttp(status);
}

export const GRPC_TYPE = "application/grpc";

/** Whether a message's fields say that it is gRPC: `application/grpc`, with or without "+proto" and the like (RouteMatch.grpc). */
export function isGrpc(headers: { get(name: string): string | undefined }): boolean {
  const type = headers.get("content-type");
  return type?.startsWith(GRPC_TYPE) === true && (type.length === GRPC_TYPE.length || type[GRPC_TYPE.length] === "+");
}
