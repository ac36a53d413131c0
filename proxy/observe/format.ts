import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

import { Place } from "../compile.ts";
import { fromWire, toWire } from "../route/text.ts";
import type { RequestRecord } from "./access-log.ts";
import { compileOperator, isPlain, type Operator } from "./operators.ts";

/** Makes the log line of a request, line end included where the format has one. */
export type Format = (record: RequestRecord) => string;

/** Envoy's default format string. */
export const DEFAULT_TEXT_FORMAT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
  '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" ' +
  '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n';

/** Literal text and operators of a format string, in turn. */
function parse(format: string, place: Place): (string | Operator)[] {
  const pieces: (string | Operator)[] = [];
  // An argument may hold percent signs of its own: START_TIME(%Y).
  for (const [piece] of format.matchAll(/%%|%[^%(]*(?:\([^)]*\))?[^%(]*%|[^%]+|%/g)) {
    if (piece === "%%") pieces.push("%");
    else if (!piece.startsWith("%")) pieces.push(piece);
    else {
      const operator = compileOperator(piece.length > 1 ? piece.slice(1, -1) : "");
      if (typeof operator === "string") place.refuse(operator);
      else pieces.push(operator);
    }
  }
  return pieces;
}

/** Compiles a text format. Unset values are "-", or nothing with `omitEmpty`; control characters are written as \xNN. */
export function compileTextFormat(format: string, omitEmpty: boolean, place: Place): Format {
  const pieces = parse(format, place);
  const missing = omitEmpty ? "" : "-";
  return (record) => {
    let line = "";
    for (const piece of pieces) {
      if (typeof piece === "string") line += piece;
      else {
        const value = piece(record);
        if (typeof value === "string") line += visible(value);
        else line += value ?? missing;
      }
    }
    return line;
  };
}

// A line that a client can break in two is two lines, of which the client wrote the second.
// Control characters: neither printable ASCII nor beyond ASCII.
const CONTROL = /[^ -~\u0080-\uffff]/;
const CONTROLS = /[^ -~\u0080-\uffff]/g;

const visible = (value: string) =>
  CONTROL.test(value)
    ? fromWire(value).replace(CONTROLS, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`)
    : fromWire(value);

/**
 * Compiles a JSON format: one object a line. An operator that stands alone keeps its type: numbers are numbers, and what is unset is null, or
 * left out with `omitEmpty`; amid text it becomes text, unset "-" (Envoy JsonFormatterImpl).
 */
export function compileJsonFormat(format: JsonObject, omitEmpty: boolean, place: Place): Format {
  const render = compileObject(format, omitEmpty, place);
  return (record) => `${render(record)}\n`;
}

function compileObject(format: JsonObject, omitEmpty: boolean, place: Place): Format {
  if (!omitEmpty) return compileWholeObject(format, place);
  const members = Object.entries(format).map(([key, value]) => ({
    key: `${JSON.stringify(key)}:`,
    value: compileValue(value, omitEmpty, place.field(key)),
  }));
  return (record) => {
    const there: string[] = [];
    for (const { key, value } of members) {
      const text = value(record);
      if (text !== undefined) there.push(key + text);
    }
    return `{${there.join(",")}}`;
  };
}

/** A member of an object that writes all its members: what comes before its value, and where that comes from. */
interface Member {
  /** By whether the value before is a string whose quote is still open. */
  readonly beforeText: readonly [string, string];
  readonly beforeOther: readonly [string, string];
  /** Undefined: the value is more than one operator. */
  readonly operator: Operator | undefined;
  readonly plain: boolean;
  readonly render: (record: RequestRecord) => string | undefined;
}

/**
 * The usual shape of a log. Each piece that is joined is visited again when the block of lines is written, so quotes, comma and key between
 * two values are one piece, chosen by whether the values are strings.
 */
function compileWholeObject(format: JsonObject, place: Place): Format {
  const members = Object.entries(format).map(([key, value], index): Member => {
    const operator = typeof value === "string" ? onlyOperator(value) : undefined;
    const before = `${index === 0 ? "{" : ","}${JSON.stringify(key)}:`;
    return {
      beforeText: [`${before}"`, `"${before}"`],
      beforeOther: [before, `"${before}`],
      operator,
      plain: operator !== undefined && isPlain(operator),
      render: compileValue(value, false, place.field(key)),
    };
  });
  if (members.length === 0) return () => "{}";
  return (record) => {
    let line = "";
    let open: 0 | 1 = 0;
    for (const { beforeText, beforeOther, operator, plain, render } of members) {
      if (operator !== undefined) {
        const value = operator(record);
        if (typeof value === "string" && (plain || !NOT_PLAIN.test(value))) {
          line = line + beforeText[open] + value;
          open = 1;
          continue;
        }
        line = line + beforeOther[open] + (typeof value === "string" ? quote(value) : (value ?? "null"));
      } else {
        line = line + beforeOther[open] + (render(record) ?? "null");
      }
      open = 0;
    }
    return line + (open === 1 ? '"}' : "}");
  };
}

/** The operator that is all of a format string; undefined: there is more, or nothing, or it is wrong, which compileValue() reports. */
function onlyOperator(format: string): Operator | undefined {
  const [only, ...more] = parse(format, Place.root());
  return typeof only === "function" && more.length === 0 ? only : undefined;
}

/** A value's JSON text, or undefined for unset. */
function compileValue(
  format: JsonValue,
  omitEmpty: boolean,
  place: Place,
): (record: RequestRecord) => string | undefined {
  if (typeof format === "string") return compileString(format, omitEmpty, place);
  if (Array.isArray(format)) {
    const elements = format.map((element, index) => compileValue(element, omitEmpty, place.item("", index)));
    return (record) => `[${elements.map((element) => element(record) ?? "null").join(",")}]`;
  }
  if (format !== null && typeof format === "object") return compileObject(format, omitEmpty, place);
  const constant = JSON.stringify(format);
  return () => constant;
}

function compileString(
  format: string,
  omitEmpty: boolean,
  place: Place,
): (record: RequestRecord) => string | undefined {
  const pieces = parse(format, place);
  const [only] = pieces;
  if (pieces.length === 1 && typeof only === "function") {
    return (record) => {
      const value = only(record);
      return typeof value === "string" ? quote(value) : value?.toString();
    };
  }
  const missing = omitEmpty ? "" : "-";
  const wire = pieces.map((piece) => (typeof piece === "string" ? toWire(piece) : piece));
  return (record) =>
    quote(wire.map((piece) => (typeof piece === "string" ? piece : (piece(record) ?? missing))).join(""));
}

// Anything but plain ASCII without quote and backslash needs the slow way.
const NOT_PLAIN = /[^ !#-[\]-~]/;

/** A JSON string. Nearly all values are plain, and for those the test is cheaper than JSON.stringify. */
const quote = (value: string) => (NOT_PLAIN.test(value) ? JSON.stringify(fromWire(value)) : `"${value}"`);
