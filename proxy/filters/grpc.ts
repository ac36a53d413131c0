import { GRPC_TYPE, grpcStatusOfHttp } from "../grpc-status.ts";
import type { Headers } from "../headers.ts";

/** https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
export const DEADLINE_EXCEEDED = 4;
/** Turns the head of a reply into one that gRPC clients understand: trailers-only, the text as grpc-message; it has no body then. */
export function toTrailersOnly(headers: Headers, status: number, text: string, grpcStatus: number | undefined): void {
  headers.remove("content-length");
  headers.set("content-type", GRPC_TYPE);
  headers.set("grpc-status", String(grpcStatus ?? grpcStatusOfHttp(status)));
  if (text !== "") headers.set("grpc-message", percentEncode(text));
}

/** gRPC's "Percent-Encoded": bytes outside of printable ASCII, and "%" itself. */
const percentEncode = (text: string): string =>
  Buffer.from(text, "utf8")
    .toString("latin1")
    .replace(/[^ -$&-~]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);

const MS_PER_UNIT: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** A request's grpc-timeout in whole ms, rounded up; undefined: it has none that could be read. */
export function grpcTimeoutMs(headers: Headers): number | undefined {
  const parsed = /^(\d{1,8})([HMSmun])$/.exec(headers.get("grpc-timeout") ?? "");
  return parsed === null ? undefined : Math.ceil(Number(parsed[1]) * (MS_PER_UNIT[parsed[2] as string] as number));
}

const DIGITS_MAX = 8;

/** A time in ms as a grpc-timeout; coarser where its eight digits do not suffice. */
export function toGrpcTimeout(ms: number): string {
  if (ms < 10 ** DIGITS_MAX) return `${Math.floor(ms)}m`;
  const seconds = Math.floor(ms / 1_000);
  return seconds < 10 ** DIGITS_MAX ? `${seconds}S` : `${Math.min(Math.floor(seconds / 3_600), 99_999_999)}H`;
}
