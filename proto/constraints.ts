/**
 * Checks messages against the protoc-gen-validate rules in Envoy's .proto files (validate/validate.proto), as Envoy does on each
 * resource that it receives. The rules of a message type are compiled to closures on first use and kept.
 */
import {
  type DescField,
  type DescMessage,
  type DescOneof,
  getOption,
  hasOption,
  type Message,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Any, isWrapperDesc } from "@bufbuild/protobuf/wkt";

import { disabled, type FieldRules, required, rules as rulesOption } from "#validate/validate_pb.ts";

import { type ValueRule, valueRules } from "./constraint-rules.ts";
import { unpack } from "./registry.ts";

/** One broken rule. `field` is a path of .proto field names: `virtual_hosts[2].domains`, "" for the message itself. */
export interface Violation {
  readonly field: string;
  readonly message: string;
}

/**
 * All rules that the message breaks, those of messages inside it included, also inside every Any whose type the registry knows
 * (an unknown type is not judged here; bytes that are not of the type they claim are a violation). Empty: none.
 */
export function violations<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Violation[] {
  const found: Violation[] = [];
  checkerOf(schema)(message, Path.root, found);
  return found;
}

/** A place in a message. It becomes text only when there is something to say of it: a route table has tens of thousands of places. */
class Path {
  static readonly root = new Path(undefined, "");
  readonly #parent: Path | undefined;
  readonly #step: string | number;

  private constructor(parent: Path | undefined, step: string | number) {
    this.#parent = parent;
    this.#step = step;
  }

  /** A field of the message here, or, as a number, an item of the list. */
  at(step: string | number): Path {
    return new Path(this, step);
  }

  toString(): string {
    const outer = this.#parent?.toString() ?? "";
    if (typeof this.#step === "number") return `${outer}[${this.#step}]`;
    return outer === "" || this.#step.startsWith("[") ? outer + this.#step : `${outer}.${this.#step}`;
  }
}

type Check = (message: Message, path: Path, found: Violation[]) => void;
/** `outer` and `step` say where the value stands; they become a path only where it is needed, since nearly all that is checked is fine. */
type ValueCheck = (value: unknown, outer: Path, step: string | number, found: Violation[]) => void;

const checkers = new WeakMap<DescMessage, Check>();

function checkerOf(schema: DescMessage): Check {
  let checker = checkers.get(schema);
  if (checker === undefined) {
    checker = compileMessage(schema);
    checkers.set(schema, checker);
  }
  return checker;
}

function compileMessage(schema: DescMessage): Check {
  if (hasOption(schema, disabled) && getOption(schema, disabled)) return () => {};
  const checks = [...schema.fields.flatMap(compileField), ...schema.oneofs.flatMap(compileOneof)];
  return (message, path, found) => {
    for (const check of checks) check(message, path, found);
  };
}

function compileOneof(oneof: DescOneof): Check[] {
  if (!hasOption(oneof, required) || !getOption(oneof, required)) return [];
  return [
    (message, path, found) => {
      const { case: chosen } = property(message, oneof.localName) as { case?: string };
      if (chosen === undefined) found.push({ field: path.at(oneof.name).toString(), message: "value is required" });
    },
  ];
}

const property = (message: Message, name: string): unknown => (message as unknown as Record<string, unknown>)[name];

/** Reads a field of a proto3 message: undefined if it has presence and is not set. */
function reader(field: DescField): (message: Message) => unknown {
  const { localName } = field;
  if (field.oneof === undefined) return (message) => property(message, localName);
  const oneof = field.oneof.localName;
  return (message) => {
    const choice = property(message, oneof) as { case?: string; value?: unknown };
    return choice.case === localName ? choice.value : undefined;
  };
}

/** `required` in its three spellings; it is judged by presence, before the value is. */
function isRequired(rules: FieldRules | undefined): boolean {
  if (rules?.message?.required === true) return true;
  const type = rules?.type;
  return (type?.case === "any" || type?.case === "duration" || type?.case === "timestamp") && type.value.required;
}

function compileField(field: DescField): Check[] {
  const rules = hasOption(field, rulesOption) ? getOption(field, rulesOption) : undefined;
  const checks: Check[] = [];
  const valueOf = reader(field);
  if (isRequired(rules) && field.oneof === undefined) {
    checks.push((message, path, found) => {
      if (valueOf(message) === undefined)
        found.push({ field: path.at(field.name).toString(), message: "value is required" });
    });
  }
  const check = compileValue(field, rules);
  if (check === undefined) return checks;
  // A proto3 scalar without presence is judged even when it is zero (so `min_len: 1` refuses ""), as are empty lists and maps.
  checks.push((message, path, found) => {
    const value = valueOf(message);
    if (value !== undefined) check(value, path, field.name, found);
  });
  return checks;
}

function compileValue(field: DescField, rules: FieldRules | undefined): ValueCheck | undefined {
  switch (field.fieldKind) {
    case "list":
      return compileList(field, rules);
    case "map":
      return compileMap(field, rules);
    case "message":
      return compileSingle(field.message, undefined, rules);
    case "enum":
      return compileSingle(undefined, field, rules);
    case "scalar":
      return compileSingle(undefined, undefined, rules);
  }
}

/** The check of one value: a message with what is in it, or a scalar. Undefined: nothing to check. */
function compileSingle(
  schema: DescMessage | undefined,
  enumField: Extract<DescField, { enum: object }> | undefined,
  rules: FieldRules | undefined,
): ValueCheck | undefined {
  const own = rules === undefined ? [] : valueRules(rules, enumField?.enum);
  const inside = schema === undefined || rules?.message?.skip === true ? undefined : compileInside(schema);
  if (own.length === 0) return inside;
  const wrapped = schema !== undefined && isWrapperDesc(schema);
  return (value, outer, step, found) => {
    // protobuf-es hands out the bare value of a wrapper, except in a oneof, a list or a map.
    const bare = wrapped && typeof value === "object" && value !== null && "value" in value ? value.value : value;
    for (const rule of own as ValueRule[]) {
      const problem = rule(bare as never);
      if (problem !== undefined) found.push({ field: outer.at(step).toString(), message: problem });
    }
    inside?.(value, outer, step, found);
  };
}

function compileInside(schema: DescMessage): ValueCheck | undefined {
  if (schema.typeName === "google.protobuf.Any") return checkAny;
  // Google's own types carry no rules, and some of them (Struct, wrappers) are not messages in JavaScript.
  if (schema.typeName.startsWith("google.protobuf.")) return undefined;
  // Looked up late: message types may contain themselves.
  let checker: Check | undefined;
  return (value, outer, step, found) => {
    checker ??= checkerOf(schema);
    checker(value as Message, outer.at(step), found);
  };
}

const checkAny: ValueCheck = (value, outer, step, found) => {
  const unpacked = unpack(value as Any);
  const path = outer.at(step);
  if (unpacked.kind === "malformed") {
    found.push({ field: path.toString(), message: `value cannot be read as ${unpacked.typeName}` });
  } else if (unpacked.kind === "message") {
    checkerOf(unpacked.schema)(unpacked.message, path, found);
  }
};

function compileList(field: Extract<DescField, { fieldKind: "list" }>, rules: FieldRules | undefined): ValueCheck {
  const list = rules?.type.case === "repeated" ? { ...rules.type.value } : undefined;
  const item = compileSingle(field.message, field.listKind === "enum" ? field : undefined, list?.items);
  const minItems = list?.minItems ?? 0n;
  const maxItems = list?.maxItems;
  const unique = list?.unique === true;
  return (value, outer, step, found) => {
    const items = value as readonly unknown[];
    if (items.length === 0 && minItems === 0n) return;
    const path = outer.at(step);
    if (items.length < minItems) {
      found.push({ field: path.toString(), message: `value must contain at least ${minItems} item(s)` });
    }
    if (maxItems !== undefined && items.length > maxItems) {
      found.push({ field: path.toString(), message: `value must contain no more than ${maxItems} item(s)` });
    }
    if (unique && new Set(items).size < items.length) {
      found.push({ field: path.toString(), message: "repeated value must contain unique items" });
    }
    if (item !== undefined) items.forEach((one, at) => item(one, path, at, found));
  };
}

function compileMap(field: Extract<DescField, { fieldKind: "map" }>, rules: FieldRules | undefined): ValueCheck {
  const map = rules?.type.case === "map" ? { ...rules.type.value } : undefined;
  const keys = compileSingle(undefined, undefined, map?.keys);
  const values = compileSingle(field.message, field.mapKind === "enum" ? field : undefined, map?.values);
  const minPairs = map?.minPairs ?? 0n;
  const maxPairs = map?.maxPairs;
  return (value, outer, step, found) => {
    const entries = Object.entries(value as Record<string, unknown>);
    if (entries.length === 0 && minPairs === 0n) return;
    const path = outer.at(step);
    if (entries.length < minPairs) {
      found.push({ field: path.toString(), message: `value must contain at least ${minPairs} pair(s)` });
    }
    if (maxPairs !== undefined && entries.length > maxPairs) {
      found.push({ field: path.toString(), message: `value must contain no more than ${maxPairs} pair(s)` });
    }
    for (const [key, one] of entries) {
      keys?.(key, path, `[${JSON.stringify(key)}]`, found);
      values?.(one, path, `[${JSON.stringify(key)}]`, found);
    }
  };
}
