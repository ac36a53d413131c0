import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

import type { Place } from "../compile.ts";
import { fromWire, toWire } from "../route/text.ts";
import type { RequestRecord } from "./access-log.ts";
import { compileOperator, isPlain, isSteady, type Operator } from "./operators.ts";
import { NOTHING, type Render, STRING, steadyMembers, VALUE } from "./steady-members.ts";

/** Makes the log line of a request, line end included where the format has one. */
export type Format = (record: RequestRecord) => string;

/** Envoy's default format string. */
export const DEFAULT_TEXT_FORMAT =
  '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
  '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" ' +
  '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n';

/** Literal text and operators of a format string, in turn; what is wrong with it is reported at `place`. */
export function parseFormat(format: string, place: Place): (string | Operator)[] {
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
  const pieces = parseFormat(format, place);
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

/** Compiles a text format whose values stay as they are: for bodies, not for lines. */
export function compileRawFormat(format: string, omitEmpty: boolean, place: Place): Format {
  const pieces = parseFormat(format, place);
  const missing = omitEmpty ? "" : "-";
  return (record) => {
    let text = "";
    for (const piece of pieces) {
      const value = typeof piece === "string" ? piece : (piece(record) ?? missing);
      text += typeof value === "string" && typeof piece !== "string" ? fromWire(value) : value;
    }
    return text;
  };
}

/** Nearly all values have nothing but these. */
const UNUSUAL = /[^ -~]/;

/**
 * A line that a client can break in two is two lines, of which the client wrote the second; and what drives a terminal drives that of whoever
 * reads the log. Beyond ASCII there are both, too: U+0085 ends a line, U+009B begins what ESC [ does.
 */
const CONTROLS = /[\p{Cc}\u2028\u2029]/gu;

const visible = (value: string) =>
  UNUSUAL.test(value)
    ? fromWire(value).replace(CONTROLS, (char) => {
        const code = char.charCodeAt(0);
        return code > 0xff ? unicodeEscape(code) : `\\x${code.toString(16).padStart(2, "0")}`;
      })
    : value;

const unicodeEscape = (code: number) => `\\u${code.toString(16).padStart(4, "0")}`;

/**
 * Compiles a JSON format: one object a line. An operator that stands alone keeps its type: numbers are numbers, and what is unset is null, or
 * left out with `omitEmpty`; amid text it becomes text, unset "-" (Envoy JsonFormatterImpl).
 */
export function compileJsonFormat(format: JsonObject, omitEmpty: boolean, place: Place): Format {
  const render = compileObject(format, omitEmpty, place);
  return (record) => `${render(record)}\n`;
}

/** What a member yields: text for a JSON string, or JSON; undefined: unset. */
type Yield = (record: RequestRecord) => string | number | undefined;

interface Member {
  readonly value: Yield;
  /** Whether a string that `value` yields is the text of a JSON string, and whether it may hold what must be escaped. */
  readonly isText: boolean;
  readonly mayNeedEscapes: boolean;
  /** Whether `value` yields one of few. */
  readonly isSteady: boolean;
  /** What leads from the member before to a value that isn't a string, and to one that is: as one piece, since each piece of a line costs. */
  readonly beforeValue: readonly [string, string, string];
  readonly beforeText: readonly [string, string, string];
}

function compileObject(format: JsonObject, omitEmpty: boolean, place: Place): Format {
  const members = Object.entries(format).map(([key, value]) => compileMember(key, value, omitEmpty, place.field(key)));
  const render = compileMembers(partsOf(members, omitEmpty), omitEmpty);
  return (record) => {
    const { text, after } = render(record, NOTHING);
    return "{" + text + (after === STRING ? '"}' : "}");
  };
}

/** Steady members that stand side by side become one part, each of the others is its own. */
function partsOf(members: readonly Member[], omitEmpty: boolean): (Member | Render)[] {
  const parts: (Member | Render)[] = [];
  for (let at = 0; at < members.length; ) {
    let end = at;
    while (members[end]?.isSteady === true) end++;
    const side = members.slice(at, Math.max(end, at + 1));
    if (side.length > 1)
      parts.push(
        steadyMembers(
          side.map(({ value }) => value),
          compileMembers(side, omitEmpty),
        ),
      );
    else parts.push(...side);
    at += side.length;
  }
  return parts;
}

function compileMembers(parts: readonly (Member | Render)[], omitEmpty: boolean): Render {
  return (record, before) => {
    let text = "";
    let after = before;
    for (const part of parts) {
      if (typeof part === "function") {
        const rendered = part(record, after);
        text += rendered.text;
        ({ after } = rendered);
        continue;
      }
      const value = part.value(record);
      if (typeof value === "string" && part.isText) {
        text = text + part.beforeText[after] + (part.mayNeedEscapes ? escaped(value) : value);
        after = STRING;
      } else if (value !== undefined || !omitEmpty) {
        text = text + part.beforeValue[after] + (value ?? "null");
        after = VALUE;
      }
    }
    return { text, after };
  };
}

function compileMember(key: string, format: JsonValue, omitEmpty: boolean, place: Place): Member {
  const name = JSON.stringify(key);
  const prefixes = {
    beforeValue: [`${name}:`, `,${name}:`, `",${name}:`],
    beforeText: [`${name}:"`, `,${name}:"`, `",${name}:"`],
  } as const;
  if (typeof format === "string") {
    const pieces = parseFormat(format, place);
    const [only] = pieces;
    if (pieces.length === 1 && typeof only === "function") {
      // What is ours, or checked by the codec, holds nothing to escape.
      return { value: only, isText: true, mayNeedEscapes: !isPlain(only), isSteady: isSteady(only), ...prefixes };
    }
    return { value: joinPieces(pieces, omitEmpty), isText: true, mayNeedEscapes: true, isSteady: false, ...prefixes };
  }
  return {
    value: compileValue(format, omitEmpty, place),
    isText: false,
    mayNeedEscapes: false,
    isSteady: false,
    ...prefixes,
  };
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
  if (format !== null && typeof format === "object") {
    const render = compileObject(format, omitEmpty, place);
    if (!omitEmpty) return render;
    // An object of which nothing is left is left out, too.
    return (record) => {
      const text = render(record);
      return text === "{}" ? undefined : text;
    };
  }
  const constant = JSON.stringify(format);
  return () => constant;
}

function compileString(
  format: string,
  omitEmpty: boolean,
  place: Place,
): (record: RequestRecord) => string | undefined {
  const pieces = parseFormat(format, place);
  const [only] = pieces;
  const value = pieces.length === 1 && typeof only === "function" ? only : joinPieces(pieces, omitEmpty);
  return (record) => {
    const text = value(record);
    return typeof text === "string" ? `"${escaped(text)}"` : text?.toString();
  };
}

/** The wire text of literals and operators amid each other. */
function joinPieces(pieces: readonly (string | Operator)[], omitEmpty: boolean): (record: RequestRecord) => string {
  const missing = omitEmpty ? "" : "-";
  const wire = pieces.map((piece) => (typeof piece === "string" ? toWire(piece) : piece));
  return (record) => wire.map((piece) => (typeof piece === "string" ? piece : (piece(record) ?? missing))).join("");
}

/** What JSON doesn't have in a string as it is, and what isn't ASCII. */
const NOT_PLAIN = /[^ !#-[\]-~]/;

/** Wire text as it stands between the quotes of a JSON string. Nearly all values are plain. */
const escaped = (value: string): string =>
  NOT_PLAIN.test(value)
    ? JSON.stringify(fromWire(value))
        .slice(1, -1)
        .replace(JSON_CONTROLS, (char) => unicodeEscape(char.charCodeAt(0)))
    : value;

/** Those of which JSON itself has nothing against. */
const JSON_CONTROLS = /[\u0080-\u009f\u2028\u2029]/g;
