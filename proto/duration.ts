import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";

const nanosPerUnit: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

const NANOS_PER_SECOND = 1_000_000_000n;

/** google.protobuf.Duration: about 10,000 years. */
const SECONDS_MAX = 315_576_000_000n;

/** What a duration must look like, for error messages. */
export const durationExamples = '"500ms", "1.5s", "1m30s" or "2h"';

/**
 * Reads a duration as operators write it: numbers with a unit of ns, us, ms, s, m or h, joined without spaces ("1m30s"), or "0".
 * Undefined for any other text, for parts of a nanosecond, and for more than google.protobuf.Duration holds.
 */
export function parseDuration(text: string): Duration | undefined {
  const [, sign = "", body = ""] = /^(-?)(.+)$/.exec(text) ?? [];
  if (body === "0") return create(DurationSchema);
  let nanos = 0n;
  let end = 0;
  for (const part of body.matchAll(/(\d{1,18})(?:\.(\d{1,18}))?(ns|us|ms|s|m|h)/gy)) {
    const unit = nanosPerUnit[part[3] ?? ""] ?? 0n;
    const fraction = part[2] ?? "";
    const scale = 10n ** BigInt(fraction.length);
    const scaled = BigInt(`${part[1]}${fraction}`) * unit;
    if (scaled % scale !== 0n) return undefined;
    nanos += scaled / scale;
    end = part.index + part[0].length;
  }
  if (end === 0 || end !== body.length || nanos > SECONDS_MAX * NANOS_PER_SECOND) return undefined;
  if (sign === "-") nanos = -nanos;
  return create(DurationSchema, { seconds: nanos / NANOS_PER_SECOND, nanos: Number(nanos % NANOS_PER_SECOND) });
}

/** The shortest text that parseDuration reads back as the same value: "0s", "500ms", "1.5s", "1m30s", "1h". */
export function formatDuration({ seconds, nanos }: Pick<Duration, "seconds" | "nanos">): string {
  let total = seconds * NANOS_PER_SECOND + BigInt(nanos);
  if (total === 0n) return "0s";
  const sign = total < 0n ? "-" : "";
  if (total < 0n) total = -total;
  for (const unit of ["ns", "us", "ms"] as const) {
    const next = { ns: "us", us: "ms", ms: "s" }[unit];
    if (total < (nanosPerUnit[next] ?? 0n)) return `${sign}${decimal(total, nanosPerUnit[unit] ?? 1n)}${unit}`;
  }
  const hours = total / 3_600_000_000_000n;
  const minutes = (total / 60_000_000_000n) % 60n;
  const rest = total % 60_000_000_000n;
  return `${sign}${hours > 0n ? `${hours}h` : ""}${minutes > 0n ? `${minutes}m` : ""}${
    rest > 0n ? `${decimal(rest, NANOS_PER_SECOND)}s` : ""
  }`;
}

/** A quotient by a power of ten, exactly. */
function decimal(value: bigint, unit: bigint): string {
  const fraction = (value % unit)
    .toString()
    .padStart(unit.toString().length - 1, "0")
    .replace(/0+$/, "");
  return `${value / unit}${fraction === "" || unit === 1n ? "" : `.${fraction}`}`;
}
