/** One thing that is wrong with what an operator wrote; sluice.admin.v1.Problem without the message machinery. */
export interface Problem {
  /** In the words of a gateway file, as in "services[2].routes[0].paths[1]". */
  readonly field: string;
  /** Stable, for programs: snake_case, such as "unknown_upstream". */
  readonly reason: string;
  /** What is wrong and what would be right; a sentence without a full stop, safe to log. */
  readonly message: string;
}

/** Where a check puts what it finds: at a field below the object that is being checked ("" for the object itself). */
export type Report = (field: string, reason: string, message: string) => void;

/** The outcome of reading something that an operator wrote: the value, or all that is wrong with it. */
export type Parsed<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/**
 * Text from outside as it may stand in a message: quoted, without control characters, and no longer than fits a line.
 */
export function quoted(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return JSON.stringify(short);
}
