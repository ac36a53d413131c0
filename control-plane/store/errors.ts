/** Why the store can't do what it is asked to. */
export type StoreErrorReason =
  /** The database is damaged, is not ours, or holds what can't be read. */
  | "corrupt"
  /** Written by a newer version of Sluice. */
  | "newer_schema"
  /** Another process has the database. */
  | "in_use"
  /** The address of the database can't be used. */
  | "invalid_url"
  /** A key for secrets can't be read. */
  | "secret_key"
  /** The database can't be reached or failed; another attempt may succeed. */
  | "unavailable"
  /** Too many writes are waiting. */
  | "busy"
  /** A revision that the store doesn't have yet, or whose successors it doesn't keep any more. */
  | "out_of_range";

/** A failure of the store that an operator can act on. Its message names the file or the server, and no secret. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly reason: StoreErrorReason;

  constructor(reason: StoreErrorReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}
