import { isIP, isIPv4, isIPv6 } from "node:net";

import type { DescEnum } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";

import {
  type BytesRules,
  type DurationRules,
  type EnumRules,
  type FieldRules,
  KnownRegex,
  type StringRules,
  type TimestampRules,
} from "#validate/validate_pb.ts";

/** Says what is wrong with one value, or undefined if nothing is. The words are protoc-gen-validate's. */
export type ValueRule = (value: never) => string | undefined;

/**
 * The rules for one value of a scalar, enum, Duration, Timestamp or Any type, as closures. Rules for messages, lists and maps are the
 * walker's (constraints.ts). `enumType` is needed for `defined_only`.
 */
export function valueRules(rules: FieldRules, enumType: DescEnum | undefined): ValueRule[] {
  const { type } = rules;
  switch (type.case) {
    case "string":
      return stringRules({ ...type.value });
    case "bytes":
      return bytesRules({ ...type.value });
    case "enum":
      return enumRules({ ...type.value }, enumType);
    case "bool": {
      const given = { ...type.value } as { const?: boolean };
      return given.const === undefined
        ? []
        : [(value: boolean) => (value === given.const ? undefined : `value must equal ${given.const}`)];
    }
    case "duration":
      return durationRules({ ...type.value });
    case "timestamp":
      return timestampRules({ ...type.value });
    case "any": {
      const { in: allowed, notIn } = type.value;
      return listRules<{ typeUrl: string }>(
        allowed,
        notIn,
        ({ typeUrl }) => typeUrl,
        (list) => `type URL must be in list ${show(list)}`,
      );
    }
    case undefined:
    case "repeated":
    case "map":
      return [];
    default:
      return orderRules<number | bigint, number | bigint>(
        { ...type.value } as Ordered<number | bigint>,
        (value) => value,
      );
  }
}

// Spreading a proto2 message keeps what was set and drops the defaults, which live on the prototype; hence the Partial types below.

interface Ordered<T> {
  const?: T | undefined;
  lt?: T | undefined;
  lte?: T | undefined;
  gt?: T | undefined;
  gte?: T | undefined;
  in?: readonly T[];
  notIn?: readonly T[];
}

function orderRules<T, C extends number | bigint>(
  given: Ordered<T>,
  comparable: (value: T) => C,
  unit = "",
): ValueRule[] {
  const found: ((value: T) => string | undefined)[] = [];
  const bound = (value: T | undefined) => (value === undefined ? undefined : comparable(value));
  const exact = bound(given.const);
  if (exact !== undefined) {
    found.push((value) => (comparable(value) === exact ? undefined : `value must equal ${exact}${unit}`));
  }
  const [lt, lte, gt, gte] = [bound(given.lt), bound(given.lte), bound(given.gt), bound(given.gte)];
  const below = (value: C) => (lt === undefined || value < lt) && (lte === undefined || value <= lte);
  const above = (value: C) => (gt === undefined || value > gt) && (gte === undefined || value >= gte);
  const upper = lt ?? lte;
  const lower = gt ?? gte;
  const upperText = lt === undefined ? `less than or equal to ${lte}${unit}` : `less than ${lt}${unit}`;
  const lowerText = gt === undefined ? `greater than or equal to ${gte}${unit}` : `greater than ${gt}${unit}`;
  if (upper !== undefined && lower !== undefined) {
    // A lower bound above the upper one means "outside" (validate.proto, on gt and gte).
    const outside = lower > upper;
    const text = `value must be ${lowerText} ${outside ? "or" : "and"} ${upperText}`;
    found.push((value) => {
      const at = comparable(value);
      return (outside ? below(at) || above(at) : below(at) && above(at)) ? undefined : text;
    });
  } else if (upper !== undefined) {
    found.push((value) => (below(comparable(value)) ? undefined : `value must be ${upperText}`));
  } else if (lower !== undefined) {
    found.push((value) => (above(comparable(value)) ? undefined : `value must be ${lowerText}`));
  }
  const allowed = (given.in ?? []).map(comparable);
  const denied = (given.notIn ?? []).map(comparable);
  return [...found, ...listRules(allowed, denied, comparable)] as ValueRule[];
}

function listRules<T, C = unknown>(
  allowed: readonly C[],
  denied: readonly C[],
  key: (value: T) => C,
  text = (list: readonly C[]) => `value must be in list ${show(list)}`,
): ValueRule[] {
  const found: ((value: T) => string | undefined)[] = [];
  if (allowed.length > 0) found.push((value) => (allowed.includes(key(value)) ? undefined : text(allowed)));
  if (denied.length > 0) {
    found.push((value) => (denied.includes(key(value)) ? `value must not be in list ${show(denied)}` : undefined));
  }
  return found as ValueRule[];
}

const show = (list: readonly unknown[]) => `[${list.map(String).join(", ")}]`;

/** RFC 1123 host names as protoc-gen-validate checks them: labels of 1-63 letters, digits and hyphens, 253 characters in all. */
const isHostname = (value: string) =>
  value.length <= 253 &&
  value
    .replace(/\.$/, "")
    .split(".")
    .every((label) => /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/.test(label));

const isUri = (value: string) => URL.canParse(value);

// The four expressions are those of protoc-gen-validate (templates/shared/well_known.go), in the strict and the loose form.
/* oxlint-disable no-control-regex -- Control characters are what these refuse. */
const headerPatterns = {
  strict: {
    [KnownRegex.HTTP_HEADER_NAME]: /^:?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+$/,
    [KnownRegex.HTTP_HEADER_VALUE]: /^[^\u0000-\u0008\u000A-\u001F\u007F]*$/,
  },
  loose: {
    [KnownRegex.HTTP_HEADER_NAME]: /^[^\u0000\u000A\u000D]*$/,
    [KnownRegex.HTTP_HEADER_VALUE]: /^[^\u0000\u000A\u000D]*$/,
  },
};
/* oxlint-enable no-control-regex */

function wellKnown(rules: Partial<StringRules>): { test(value: string): boolean; name: string } | undefined {
  const known = rules.wellKnown;
  switch (known?.case) {
    case undefined:
      return undefined;
    case "wellKnownRegex": {
      if (known.value === KnownRegex.UNKNOWN) return undefined;
      const pattern = headerPatterns[rules.strict === false ? "loose" : "strict"][known.value];
      const name = known.value === KnownRegex.HTTP_HEADER_NAME ? "HTTP header name" : "HTTP header value";
      return { test: (value) => pattern.test(value), name };
    }
    case "email":
      return { test: (value) => /^[^\s@<>]+@[^\s@<>]+$/.test(value), name: "email address" };
    case "hostname":
      return { test: isHostname, name: "hostname" };
    case "ip":
      return { test: (value) => isIP(value) !== 0, name: "IP address" };
    case "ipv4":
      return { test: isIPv4, name: "IPv4 address" };
    case "ipv6":
      return { test: isIPv6, name: "IPv6 address" };
    case "uri":
      return { test: isUri, name: "URI" };
    case "uriRef":
      return { test: (value) => URL.canParse(value, "http://base/"), name: "URI reference" };
    case "address":
      return { test: (value) => isHostname(value) || isIP(value) !== 0, name: "hostname or IP address" };
    case "uuid":
      return { test: (value) => /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(value), name: "UUID" };
  }
}

function stringRules(given: Partial<StringRules>): ValueRule[] {
  const found: ((value: string) => string | undefined)[] = [];
  const rule = (holds: (value: string) => boolean, text: string) =>
    found.push((value) => (holds(value) ? undefined : text));
  const { len, minLen, maxLen, lenBytes, minBytes, maxBytes, prefix, suffix, contains, notContains } = given;
  // Lengths are counted in characters, not in UTF-16 units (validate.proto, StringRules.len).
  const characters = (value: string) => Array.from(value).length;
  const bytes = (value: string) => Buffer.byteLength(value);
  if (given.const !== undefined) rule((value) => value === given.const, `value must equal ${given.const}`);
  if (len !== undefined) rule((value) => characters(value) === Number(len), `value length must be ${len} characters`);
  if (minLen !== undefined) {
    rule((value) => characters(value) >= minLen, `value length must be at least ${minLen} characters`);
  }
  if (maxLen !== undefined) {
    rule((value) => characters(value) <= maxLen, `value length must be at most ${maxLen} characters`);
  }
  if (lenBytes !== undefined)
    rule((value) => bytes(value) === Number(lenBytes), `value length must be ${lenBytes} bytes`);
  if (minBytes !== undefined) {
    rule((value) => bytes(value) >= minBytes, `value length must be at least ${minBytes} bytes`);
  }
  if (maxBytes !== undefined)
    rule((value) => bytes(value) <= maxBytes, `value length must be at most ${maxBytes} bytes`);
  if (given.pattern !== undefined) {
    const pattern = new RegExp(given.pattern, "u");
    rule((value) => pattern.test(value), `value does not match regex pattern "${given.pattern}"`);
  }
  if (prefix !== undefined) rule((value) => value.startsWith(prefix), `value does not have prefix "${prefix}"`);
  if (suffix !== undefined) rule((value) => value.endsWith(suffix), `value does not have suffix "${suffix}"`);
  if (contains !== undefined) rule((value) => value.includes(contains), `value does not contain "${contains}"`);
  if (notContains !== undefined) rule((value) => !value.includes(notContains), `value contains "${notContains}"`);
  const known = wellKnown(given);
  if (known !== undefined) rule((value) => known.test(value), `value must be a valid ${known.name}`);
  found.push(...(listRules<string>(given.in ?? [], given.notIn ?? [], (value) => value) as typeof found));
  if (given.ignoreEmpty !== true) return found as ValueRule[];
  return found.map((check) => (value: string) => (value === "" ? undefined : check(value))) as ValueRule[];
}

function bytesRules(given: Partial<BytesRules>): ValueRule[] {
  const found: ((value: Uint8Array) => string | undefined)[] = [];
  const rule = (holds: (value: Buffer) => boolean, text: string) =>
    found.push((value) => (holds(Buffer.from(value)) ? undefined : text));
  const { len, minLen, maxLen, prefix, suffix, contains, wellKnown: known } = given;
  const exact = given.const;
  if (exact !== undefined) rule((value) => value.equals(exact), "value must equal the one allowed");
  if (len !== undefined) rule((value) => value.length === Number(len), `value length must be ${len} bytes`);
  if (minLen !== undefined) rule((value) => value.length >= minLen, `value length must be at least ${minLen} bytes`);
  if (maxLen !== undefined) rule((value) => value.length <= maxLen, `value length must be at most ${maxLen} bytes`);
  if (given.pattern !== undefined) {
    const pattern = new RegExp(given.pattern);
    rule((value) => pattern.test(value.toString("latin1")), `value does not match regex pattern "${given.pattern}"`);
  }
  if (prefix !== undefined) rule((value) => value.subarray(0, prefix.length).equals(prefix), "value lacks its prefix");
  if (suffix !== undefined) {
    rule(
      (value) => value.length >= suffix.length && value.subarray(value.length - suffix.length).equals(suffix),
      "value lacks its suffix",
    );
  }
  if (contains !== undefined)
    rule((value) => value.includes(Buffer.from(contains)), "value lacks what it must contain");
  if (known?.case === "ip") rule(({ length }) => length === 4 || length === 16, "value must be a valid IP address");
  if (known?.case === "ipv4") rule(({ length }) => length === 4, "value must be a valid IPv4 address");
  if (known?.case === "ipv6") rule(({ length }) => length === 16, "value must be a valid IPv6 address");
  const hex = (value: Uint8Array) => Buffer.from(value).toString("hex");
  const lists = listRules<Uint8Array>((given.in ?? []).map(hex), (given.notIn ?? []).map(hex), hex);
  return [...found, ...lists] as ValueRule[];
}

function enumRules(given: Partial<EnumRules>, enumType: DescEnum | undefined): ValueRule[] {
  const found: ((value: number) => string | undefined)[] = [];
  if (given.const !== undefined) {
    found.push((value) => (value === given.const ? undefined : `value must equal ${given.const}`));
  }
  if (given.definedOnly === true && enumType !== undefined) {
    const defined = new Set(enumType.values.map(({ number }) => number));
    found.push((value) => (defined.has(value) ? undefined : "value must be one of the defined enum values"));
  }
  return [...found, ...listRules<number>(given.in ?? [], given.notIn ?? [], (value) => value)] as ValueRule[];
}

const nanoseconds = ({ seconds, nanos }: Duration | Timestamp) => seconds * 1_000_000_000n + BigInt(nanos);

const durationRules = (given: Partial<DurationRules>) =>
  orderRules<Duration, bigint>(given, nanoseconds, "ns").map(
    (check) => (value: Duration) => (isDuration(value) ? check(value as never) : "value is not a valid duration"),
  ) as ValueRule[];

/** The bounds of google/protobuf/duration.proto; Envoy refuses what is outside. */
const isDuration = ({ seconds, nanos }: Duration) =>
  seconds >= -315_576_000_000n &&
  seconds <= 315_576_000_000n &&
  Math.abs(nanos) < 1_000_000_000 &&
  (seconds === 0n || nanos === 0 || seconds > 0n === nanos > 0);

function timestampRules(given: Partial<TimestampRules>): ValueRule[] {
  const found = orderRules<Timestamp, bigint>(given, nanoseconds, "ns") as ((value: Timestamp) => string | undefined)[];
  const { within } = given;
  const now = () => BigInt(Date.now()) * 1_000_000n;
  if (given.ltNow === true)
    found.push((value) => (nanoseconds(value) < now() ? undefined : "value must be less than now"));
  if (given.gtNow === true) {
    found.push((value) => (nanoseconds(value) > now() ? undefined : "value must be greater than now"));
  }
  if (within !== undefined) {
    const distance = (value: Timestamp) => {
      const ns = nanoseconds(value) - now();
      return ns < 0n ? -ns : ns;
    };
    found.push((value) => (distance(value) <= nanoseconds(within) ? undefined : "value is too far from now"));
  }
  return found as ValueRule[];
}
