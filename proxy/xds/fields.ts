import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { type Any, FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";

import { unpack } from "#proto/registry.ts";

import type { Problem } from "../compile.ts";

/**
 * What the proxy does with each field of Envoy's messages: message type -> .proto name of the field -> `used`, or `ignored` for fields
 * that change no behaviour of ours (statistics names, metadata). A field that is not here is refused when it is set, so that a field
 * that Envoy gains tomorrow is refused rather than half obeyed (proxy-parity.md, part 1).
 */
export type FieldTable = Readonly<Record<string, Readonly<Record<string, "used" | "ignored">>>>;

/** One table of several. Where two disagree on a field it is `used`: what is inside is then looked at, too. */
export function mergeFieldTables(...tables: readonly FieldTable[]): FieldTable {
  const merged: Record<string, Record<string, "used" | "ignored">> = {};
  for (const table of tables) {
    for (const [typeName, fields] of Object.entries(table)) {
      const into = (merged[typeName] ??= {});
      for (const [name, use] of Object.entries(fields)) if (into[name] !== "used") into[name] = use;
    }
  }
  return merged;
}

/** An HTTP filter that may be left out where it is unknown: Envoy's is_optional. */
const HTTP_FILTER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter";

/**
 * Every set field of the message that the table doesn't have, inside nested messages and known Anys as well, and every field that
 * even our copy of Envoy's API doesn't know. An Any of a type that the table doesn't have is refused as a whole, unless it configures
 * an HTTP filter that is optional. Adds at most `problemsMax` problems.
 */
export function unsupportedFields(
  schema: DescMessage,
  message: Message,
  table: FieldTable,
  problemsMax: number,
): Problem[] {
  const problems: Problem[] = [];
  new Walk(table, problems, problemsMax).message(schema, message, undefined);
  return problems;
}

class Walk {
  readonly #table: FieldTable;
  readonly #problems: Problem[];
  readonly #problemsMax: number;

  constructor(table: FieldTable, problems: Problem[], problemsMax: number) {
    this.#table = table;
    this.#problems = problems;
    this.#problemsMax = problemsMax;
  }

  message(schema: DescMessage, message: Message, path: Place): void {
    for (const { no } of message.$unknown ?? []) {
      this.#refuse(path, `${schema.typeName} has a field number ${no} that this version does not know`);
    }
    const known = this.#table[schema.typeName];
    const optional = schema.typeName === HTTP_FILTER && (message as unknown as { isOptional: boolean }).isOptional;
    for (const field of schema.fields) {
      const value = valueOf(message, field);
      if (value === undefined) continue;
      const use = known?.[field.name];
      if (use === undefined) this.#refuse([path, field.name], "this field is not supported");
      else if (use === "used" && field.message !== undefined) {
        this.#inside(field, value, [path, field.name], optional);
      }
    }
  }

  #inside(field: DescField & { message: DescMessage }, value: unknown, path: Place, optional: boolean): void {
    const schema = field.message;
    const isAny = schema.typeName === "google.protobuf.Any";
    // Google's own types are values to us; some of them (Struct, wrappers) are not even messages in JavaScript.
    if (!isAny && schema.typeName.startsWith("google.protobuf.")) return;
    const visit = (one: unknown, at: Place) =>
      isAny ? this.#any(one as Any, at, optional) : this.message(schema, one as Message, at);
    if (field.fieldKind === "list") (value as unknown[]).forEach((one, at) => visit(one, [path, at]));
    else if (field.fieldKind === "map") {
      for (const [key, one] of Object.entries(value as object)) visit(one, [path, `[${JSON.stringify(key)}]`]);
    } else visit(value, path);
  }

  #any(any: Any, path: Place, optional: boolean): void {
    const unpacked = unpack(any);
    if (unpacked.kind === "message" && Object.hasOwn(this.#table, unpacked.schema.typeName)) {
      this.message(unpacked.schema, unpacked.message, path);
    } else if (unpacked.kind === "malformed") {
      this.#refuse(path, `its bytes cannot be read as ${unpacked.typeName}`);
    } else if (!optional) {
      const typeName = unpacked.kind === "message" ? unpacked.schema.typeName : unpacked.typeName;
      this.#refuse(path, `the extension ${typeName === "" ? "without a type" : typeName} is not supported`);
    }
  }

  #refuse(place: Place, message: string): void {
    if (this.#problems.length < this.#problemsMax) this.#problems.push({ field: show(place), message });
  }
}

/** A path as its steps from the end; made into text only for a problem, since a route table has tens of thousands of places. */
type Place = readonly [outer: Place, step: string | number] | undefined;

function show(place: Place): string {
  if (place === undefined) return "";
  const [outer, step] = place;
  const before = show(outer);
  if (typeof step === "number") return `${before}[${step}]`;
  return before === "" || step.startsWith("[") ? before + step : `${before}.${step}`;
}

/** The value of a field of a proto3 message, or undefined if it is not set: what isFieldSet() tells, in a tenth of the time. */
function valueOf(message: Message, field: DescField): unknown {
  const properties = message as unknown as Record<string, unknown>;
  if (field.oneof !== undefined) {
    const choice = properties[field.oneof.localName] as { case?: string; value?: unknown };
    return choice.case === field.localName ? choice.value : undefined;
  }
  const value = properties[field.localName];
  switch (typeof value) {
    case "string":
    case "number":
    case "bigint":
    case "boolean":
      // A wrapper or an `optional` field has presence, so it is set though it is zero.
      return field.presence === FeatureSet_FieldPresence.IMPLICIT && !value ? undefined : value;
    case "object":
      if (field.fieldKind === "list" || value instanceof Uint8Array) {
        return (value as ArrayLike<unknown>).length === 0 ? undefined : value;
      }
      if (field.fieldKind === "map") return isEmpty(value as object) ? undefined : value;
      return value;
    default:
      return value;
  }
}

function isEmpty(map: object): boolean {
  for (const _ in map) return false;
  return true;
}
