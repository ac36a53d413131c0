const MS_BY_UNIT: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** What setTimeout takes; whoever waits for longer waits for ever. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/**
 * The time that a client gives a call (gRPC over HTTP2, "Timeout"), in milliseconds; undefined: as long as it takes.
 *
 * @param header `grpc-timeout`
 * @returns "invalid" where it is no time
 */
export function timeoutMsOf(header: string | readonly string[] | undefined): number | "invalid" | undefined {
  if (header === undefined) return undefined;
  const [, value = "", unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(String(header)) ?? [];
  const unitMs = MS_BY_UNIT[unit];
  if (unitMs === undefined) return "invalid";
  const timeoutMs = Number(value) * unitMs;
  return timeoutMs <= TIMEOUT_MS_MAX ? timeoutMs : undefined;
}
