import type { RequestRecord } from "./access-log.ts";

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
  200: 2,
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: 14,
  502: 14,
  503: 14,
  504: 14,
};

/** The gRPC status that a client makes of an answer by HTTP alone. */
export const grpcStatusOfHttp = (status: number): number => fromHttp[status] ?? UNKNOWN;

/** The gRPC status of a response: of its trailers, else of its head, else what its HTTP status means (Envoy Grpc::Common::getGrpcStatus). */
export function grpcStatus({ responseTrailers, responseHeaders, status }: RequestRecord): number | undefined {
  const text = responseTrailers?.get("grpc-status") ?? responseHeaders?.get("grpc-status");
  if (text !== undefined && /^[0-9]{1,10}$/.test(text)) return Number(text);
  return status === 0 ? undefined : grpcStatusOfHttp(status);
}

/** RouteMatch.grpc, and what Envoy counts as a gRPC request: the content type is application/grpc or application/grpc+something. */
export const isGrpcType = (contentType: string | undefined): boolean =>
  contentType !== undefined &&
  contentType.startsWith("application/grpc") &&
  (contentType.length === 16 || contentType[16] === "+");
