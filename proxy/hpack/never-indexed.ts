import { knownNames } from "./known-names.ts";

/** So many values are remembered, the oldest forgotten first: they are sent on within the turn in which they came, or soon after. */
const VALUES_MAX = 1_000;
/** A longer value is never indexed anyway, whatever the encoder's table. */
const BYTES_MAX = 1_024;

const values = new Set<string>();

/** A peer wrote the field as one that must never be indexed. */
export function noteNeverIndexed(name: string, value: string): void {
  // Credentials that every encoder knows as such need not be kept.
  if (value.length < (knownNames.get(name)?.secretBelowBytes ?? 0)) return;
  if (value.length === 0 || value.length > BYTES_MAX || values.has(value)) return;
  values.add(value);
  if (values.size <= VALUES_MAX) return;
  for (const oldest of values) {
    values.delete(oldest);
    return;
  }
}

/**
 * Whether the value came as one that must never be indexed; then it must be sent on so (RFC 7541, 6.2.3). Remembered by the value and for all connections of the worker, so that
 * nothing between decoder and encoder has to carry it along: what is a secret of one is none to be indexed for another.
 */
export const cameNeverIndexed = (value: string): boolean => values.size > 0 && values.has(value);
