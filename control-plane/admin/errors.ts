import { Code, ConnectError } from "@connectrpc/connect";

import { ProblemsSchema } from "#sluice/admin/v1/common_pb.ts";

import { keyText, type ObjectKey } from "../model/objects.ts";
import type { Problem } from "../model/problem.ts";
import { StoreError, type StoreErrorReason } from "../store/errors.ts";

/** How many problems one answer tells; the rest is counted. An error must fit into a gRPC trailer. */
const PROBLEMS_MAX = 100;

/** A request that is wrong: INVALID_ARGUMENT with all problems. */
export const invalid = (problems: readonly Problem[]) => withProblems(Code.InvalidArgument, problems);

/** A request that the gateway's present state forbids: FAILED_PRECONDITION with all problems. */
export const forbiddenByState = (problems: readonly Problem[]) => withProblems(Code.FailedPrecondition, problems);

/** NOT_FOUND, naming the object. */
export const notFound = (key: ObjectKey) => new ConnectError(`${keyText(key)} doesn't exist`, Code.NotFound);

/** ALREADY_EXISTS, naming the object. */
export const alreadyExists = (key: ObjectKey) =>
  new ConnectError(`${keyText(key)} exists already; update it instead`, Code.AlreadyExists);

/** ABORTED: somebody else wrote since the caller looked. `what` is the store or an object. */
export const revisionConflict = (what: string, expected: bigint, actual: bigint) =>
  new ConnectError(
    `${what} is at revision ${actual}, and the request expects ${expected}: read it again, and repeat the change on that`,
    Code.Aborted,
  );

function withProblems(code: Code, problems: readonly Problem[]): ConnectError {
  const shown = problems.slice(0, PROBLEMS_MAX).map(({ field, reason, message }) => ({ field, reason, message }));
  const [first] = problems;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  const text = first === undefined ? "" : `${first.field === "" ? "" : `${first.field}: `}${first.message}${more}`;
  return new ConnectError(text, code, undefined, [{ desc: ProblemsSchema, value: { problems: shown } }]);
}

const codes: Record<StoreErrorReason, Code> = {
  corrupt: Code.DataLoss,
  newer_schema: Code.FailedPrecondition,
  in_use: Code.Unavailable,
  invalid_url: Code.Internal,
  secret_key: Code.Internal,
  unavailable: Code.Unavailable,
  busy: Code.ResourceExhausted,
  out_of_range: Code.OutOfRange,
};

/**
 * What a caller is told of anything that was thrown. What nobody foresaw is INTERNAL without its message, which may hold what the
 * caller must not see; the log has it under the request's id.
 */
export function toConnectError(error: unknown, requestId: string): ConnectError {
  if (error instanceof ConnectError) return error;
  if (callerLeft(error)) return new ConnectError("the caller left", Code.Canceled);
  if (error instanceof StoreError) return new ConnectError(error.message, codes[error.reason]);
  return new ConnectError(`internal error; the control plane's log has it as request ${requestId}`, Code.Internal);
}

/** What Node throws to whoever reads from or writes to a caller that has closed its connection. */
function callerLeft(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return (
    code === "ERR_STREAM_PREMATURE_CLOSE" ||
    code === "ECONNRESET" ||
    code === "ABORT_ERR" ||
    code === "EPIPE" ||
    code === "ECANCELED"
  );
}
