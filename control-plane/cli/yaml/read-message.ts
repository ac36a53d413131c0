import { type DescField, type DescMessage, fromJson, type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { DurationSchema, ListValueSchema, StructSchema, ValueSchema } from "@bufbuild/protobuf/wkt";

import { durationExamples, parseDuration } from "#proto/duration.ts";
import { shortName } from "#proto/plain.ts";
import { readScalar } from "./read-scalar.ts";
import { alternatives, closest, enumValue, writableValues } from "./spelling.ts";
import { type FileProblem, type ListNode, type MapNode, positionOf, type YamlNode } from "./tree.ts";

/**
 * Deeper than any message of the model; `vars` expressions nest. A level is up to two messages (Value, ListValue), and a server reads no
 * more than 100, within each other, from binary.
 */
const DEPTH_MAX = 40;

const PROBLEMS_MAX = 100;

/** Reads messages out of YAML nodes by their descriptors, and collects all that is wrong on the way. */
export class MessageReader {
  readonly problems: FileProblem[] = [];
  #nodesLeft: number;

  /** `nodesMax` bounds what aliases may expand to. */
  constructor(nodesMax: number) {
    this.#nodesLeft = nodesMax;
  }

  /** Fills a message from a mapping; `field` is its path for error messages. */
  message(desc: DescMessage, node: YamlNode, field: string, depth = 0): ReflectMessage {
    const message = reflect(desc);
    if (this.#exhausted(node, depth)) return message;
    if (node.kind !== "map") {
      this.#problem(node, field, `must be a mapping of ${labelOf(desc)} fields`);
      return message;
    }
    const fields = new Map(desc.fields.map((candidate) => [candidate.jsonName, candidate]));
    const oneofs = new Map<string, string>();
    for (const [key, entry] of node.entries) {
      const target = fields.get(key);
      if (target === undefined) {
        this.#problem(entry, join(field, key), unknownField(key, fields.keys(), labelOf(desc)));
        continue;
      }
      if (target.oneof !== undefined) {
        const other = oneofs.get(target.oneof.name);
        if (other !== undefined) {
          const names = target.oneof.fields.map(({ jsonName }) => jsonName);
          this.#problem(entry, join(field, key), `stands beside ${other}; give only one of ${alternatives(names)}`);
          continue;
        }
        oneofs.set(target.oneof.name, key);
      }
      this.field(message, target, entry.value, join(field, key), depth + 1);
    }
    return message;
  }

  /** Sets one field of a message; to a list it appends. */
  field(message: ReflectMessage, field: DescField, node: YamlNode, path: string, depth: number): void {
    if (node.kind === "scalar" && node.value === null && field.message?.typeName !== ValueSchema.typeName) {
      const empty = { list: "[]", map: "{}", message: "{}", scalar: '""', enum: "a value" }[field.fieldKind];
      this.#problem(node, path, `has no value; write ${empty}, or leave the line out`);
      return;
    }
    switch (field.fieldKind) {
      case "list":
        if (node.kind === "list") this.#list(message, field, node, path, depth);
        else this.#problem(node, path, "must be a list: [a, b], or a line with - for each element");
        return;
      case "map":
        if (node.kind === "map") this.#map(message, field, node, path, depth);
        else this.#problem(node, path, "must be a mapping: { key: value }");
        return;
      default: {
        const value = this.#value(field, node, path, depth);
        if (value !== undefined) message.set(field, value);
      }
    }
  }

  #list(
    message: ReflectMessage,
    field: DescField & { fieldKind: "list" },
    node: ListNode,
    path: string,
    depth: number,
  ) {
    const list = message.get(field);
    node.items.forEach((item, index) => {
      const value = this.#value(field, item, `${path}[${nameOf(item) ?? index}]`, depth + 1);
      if (value !== undefined) list.add(value);
    });
    message.set(field, list);
  }

  #map(message: ReflectMessage, field: DescField & { fieldKind: "map" }, node: MapNode, path: string, depth: number) {
    if (field.mapKey !== ScalarType.STRING)
      throw new Error(`${field.parent.typeName}.${field.name}: keys are no texts`);
    const map = message.get(field);
    for (const [key, entry] of node.entries) {
      const value = this.#value(field, entry.value, `${path}[${key}]`, depth + 1);
      if (value !== undefined) map.set(key, value);
    }
    message.set(field, map);
  }

  /** One element of a list or map, or the value of a singular field. */
  #value(field: DescField, node: YamlNode, path: string, depth: number): unknown {
    if (this.#exhausted(node, depth)) return undefined;
    const refuse = (message: string): undefined => this.#problem(node, path, message);
    if (field.enum !== undefined) {
      const text = node.kind === "scalar" ? node.text : "";
      const value = enumValue(field.enum, text);
      return value?.number ?? refuse(unknownValue(text, writableValues(field.enum).map(shortName)));
    }
    if (field.message === undefined) return readScalar(field.scalar, node, refuse);
    switch (field.message.typeName) {
      case DurationSchema.typeName: {
        const duration = node.kind === "scalar" ? parseDuration(node.text) : undefined;
        if (duration !== undefined) return reflect(DurationSchema, duration);
        const unit =
          node.kind === "scalar" && typeof node.value === "number" ? "has no unit; a duration is" : "must be";
        return refuse(`${unit} ${unit === "must be" ? "a duration like " : "written like "}${durationExamples}`);
      }
      case ListValueSchema.typeName:
        if (node.kind !== "list") return refuse("must be a list");
        return reflect(ListValueSchema, fromJson(ListValueSchema, this.#json(node, path, depth)));
      case ValueSchema.typeName:
        return reflect(ValueSchema, fromJson(ValueSchema, this.#json(node, path, depth)));
      case StructSchema.typeName:
        if (node.kind !== "map") return refuse("must be a mapping");
        return this.#json(node, path, depth);
      default:
        return this.message(field.message, node, path, depth);
    }
  }

  #json(node: YamlNode, path: string, depth: number): JsonValue {
    if (this.#exhausted(node, depth)) return null;
    switch (node.kind) {
      case "list":
        return node.items.map((item, index) => this.#json(item, `${path}[${index}]`, depth + 1));
      case "map":
        return Object.fromEntries(
          [...node.entries].map(([key, { value }]) => [key, this.#json(value, join(path, key), depth + 1)]),
        );
      case "scalar":
        if (typeof node.value === "bigint" || (typeof node.value === "number" && !Number.isFinite(node.value))) {
          this.#problem(node, path, "is not a number that JSON has");
          return null;
        }
        return node.value;
    }
  }

  #exhausted(node: YamlNode, depth: number): boolean {
    if (depth > DEPTH_MAX) {
      this.#problem(node, undefined, `is nested more than ${DEPTH_MAX} levels deep`);
      return true;
    }
    this.#nodesLeft -= 1;
    if (this.#nodesLeft === -1)
      this.#problem(node, undefined, "its aliases make the file more than ten times as large");
    return this.#nodesLeft < 0;
  }

  #problem(at: Parameters<typeof positionOf>[0], field: string | undefined, message: string): undefined {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push({ position: positionOf(at), field, message });
  }
}

/** The name that an element of a list goes by, where it has one. */
function nameOf(node: YamlNode): string | undefined {
  const name = node.kind === "map" ? node.entries.get("name")?.value : undefined;
  return name?.kind === "scalar" && typeof name.value === "string" && name.value !== "" ? name.value : undefined;
}

const join = (path: string, key: string) => (path === "" ? key : `${path}.${key}`);

/** "Service" -> "service", "GatewayGroup" -> "gateway group". */
const labelOf = (desc: DescMessage) => desc.name.replace(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase();

function unknownField(key: string, fields: Iterable<string>, label: string): string {
  const names = [...fields];
  const meant = closest(key, names);
  const article = /^[aeiou]/.test(label) ? "an" : "a";
  return `is no field of ${article} ${label}; ${meant === undefined ? `it has ${alternatives(names).replace(/ or ([^ ]+)$/, " and $1")}` : `did you mean ${meant}?`}`;
}

function unknownValue(text: string, values: readonly string[]): string {
  const meant = closest(text, values);
  const hint = text === "" || meant === undefined || values.length === 1 ? "" : `; did you mean ${meant}?`;
  return `must be ${alternatives(values)}${hint}`;
}
