import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { type Any, FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";

import { unpack } from "#proto/registry.ts";

import type { Problem } from "../compile.ts";

/**
 * What the proxy does with each field of Envoy's messages: message type -> .proto name of the field -> `used`, or `ignored` for fields
 * that change no behaviour of ours (statistics names, metadata). A field that is not here is refused when it is set, so that a field
 * that Envoy gains tomorrow is refused rather than half obeyed.
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
    const optional = schema.typeName === HTTP_FILTER && (message as unknown as { isOptional: boolean }).isOptional;
    const properties = message as unknown as Record<string, unknown>;
    for (const member of membersOf(schema, this.#table)) {
      const value = properties[member.localName];
      if (member.choices === undefined) {
        if (isSet(value, member)) this.#use(member, value, path, optional);
        continue;
      }
      const chosen = value as { case?: string; value?: unknown };
      const choice = chosen.case === undefined ? undefined : member.choices.get(chosen.case);
      if (choice !== undefined) this.#use(choice, chosen.value, path, optional);
    }
  }

  #use({ name, use, inside, kind }: Member, value: unknown, path: Place, optional: boolean): void {
    if (use === undefined) this.#refuse([path, name], "this field is not supported");
    if (use !== "used" || inside === undefined) return;
    const at: Place = [path, name];
    const visit = (one: unknown, where: Place) =>
      inside === "any" ? this.#any(one as Any, where, optional) : this.message(inside, one as Message, where);
    if (kind === "list") (value as unknown[]).forEach((one, index) => visit(one, [at, index]));
    else if (kind === "map") {
      for (const [key, one] of Object.entries(value as object)) visit(one, [at, `[${JSON.stringify(key)}]`]);
    } else visit(value, at);
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

/** A field of a message type, or a oneof with its fields, as the walk needs it. */
interface Member {
  readonly name: string;
  readonly localName: string;
  readonly use: "used" | "ignored" | undefined;
  readonly kind: "list" | "map" | "single";
  /** Whether a zero can't be told from a field that is not set. */
  readonly isImplicit: boolean;
  /** What may be inside that is to be looked at: messages of a type, or Anys. */
  readonly inside: DescMessage | "any" | undefined;
  /** The fields of a oneof by their local names. */
  readonly choices: ReadonlyMap<string, Member> | undefined;
}

const members = new WeakMap<FieldTable, Map<DescMessage, readonly Member[]>>();

/** The fields of a message type: made once, since there are fifty in a route, and tens of thousands of routes. */
function membersOf(schema: DescMessage, table: FieldTable): readonly Member[] {
  let ofTable = members.get(table);
  if (ofTable === undefined) members.set(table, (ofTable = new Map()));
  let found = ofTable.get(schema);
  if (found === undefined) {
    const known = table[schema.typeName];
    found = schema.members.map((member): Member => {
      if (member.kind === "field") return memberOf(member, known);
      const { name, localName } = member;
      const choices = new Map(member.fields.map((field) => [field.localName, memberOf(field, known)]));
      return { name, localName, use: undefined, kind: "single", isImplicit: false, inside: undefined, choices };
    });
    ofTable.set(schema, found);
  }
  return found;
}

function memberOf(field: DescField, known: FieldTable[string] | undefined): Member {
  const { name, localName, fieldKind, presence } = field;
  return {
    ...{ name, localName, use: known?.[name], choices: undefined },
    kind: fieldKind === "list" || fieldKind === "map" ? fieldKind : "single",
    isImplicit: presence === FeatureSet_FieldPresence.IMPLICIT,
    inside: insideOf(field.message),
  };
}

function insideOf(schema: DescMessage | undefined): Member["inside"] {
  if (schema?.typeName === "google.protobuf.Any") return "any";
  // Google's own types are values to us; some of them (Struct, wrappers) are not even messages in JavaScript.
  return schema?.typeName.startsWith("google.protobuf.") === true ? undefined : schema;
}

/** Whether a field of a proto3 message, no oneof's, is set: what isFieldSet() tells, in a tenth of the time. */
function isSet(value: unknown, { kind, isImplicit }: Member): boolean {
  switch (typeof value) {
    case "string":
    case "number":
    case "bigint":
    case "boolean":
      // A wrapper or an `optional` field has presence, so it is set though it is zero.
      return !isImplicit || Boolean(value);
    case "object":
      if (kind === "list" || value instanceof Uint8Array) return (value as ArrayLike<unknown>).length > 0;
      return kind !== "map" || !isEmpty(value as object);
    default:
      return value !== undefined;
  }
}

function isEmpty(map: object): boolean {
  for (const _ in map) return false;
  return true;
}
