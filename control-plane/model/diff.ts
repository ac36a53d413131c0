import { create, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { toPlain } from "#proto/plain.ts";
import {
  type Change,
  ChangeSchema,
  ChangeType,
  type FieldChange,
  FieldChangeSchema,
} from "#sluice/admin/v1/common_pb.ts";

import { schemaOf } from "./kinds.ts";
import { type StoredObject, toMessage, withDefaults } from "./objects.ts";
import { redacted } from "./redact.ts";
import { REDACTED, secretsIn } from "./secrets.ts";

/**
 * What turning `before` into `after` changes. One of them may be undefined (created, deleted), not both; where
 * nothing differs the result is an update without fields. Compared is what was written, so that setting a field to
 * its default is a change. Secrets are compared and not shown.
 */
export function diffObjects(before: StoredObject | undefined, after: StoredObject | undefined): Change {
  const [left, right] = [before, after].map((object) => object && withDefaults(object));
  const fields: FieldChange[] = [];
  const unchangedFields = left && right ? compare("", asJson(left), asJson(right, left), fields) : 0;
  return create(ChangeSchema, {
    type: left === undefined ? ChangeType.CREATED : right === undefined ? ChangeType.DELETED : ChangeType.UPDATED,
    before: left && toMessage(redacted(left)),
    after: right && toMessage(redacted(right)),
    fields,
    unchangedFields,
  });
}

/** An object in the words of gateway files, without its secrets, of which those that differ from the ones of `before` say so. */
function asJson(object: StoredObject, before?: StoredObject): JsonValue {
  const schema = schemaOf(object.kind);
  const old = new Map(before === undefined ? [] : secretsOf(before));
  const fresh = secretsOf(object).flatMap(([path, text]) => (old.has(path) && old.get(path) !== text ? [path] : []));
  const shown = redacted(object);
  const json = toPlain(schema, shown.value);
  for (const path of fresh) {
    let at: JsonValue | undefined = json;
    for (const name of path.split(".")) at = isObject(at ?? null) ? (at as JsonObject)[name] : undefined;
    if (at !== undefined && isObject(at)) at["value"] = `${REDACTED} (changed)`;
  }
  return json;
}

/** The secrets that are written out in an object, by their paths. */
const secretsOf = ({ kind, value }: StoredObject): [string, string][] =>
  secretsIn(schemaOf(kind), value).flatMap(({ path, secret: { source } }) =>
    source.case === "value" ? [[path, source.value]] : [],
  );

/** Adds what differs to `fields`; returns how many leaves are equal. */
function compare(
  path: string,
  before: JsonValue | undefined,
  after: JsonValue | undefined,
  fields: FieldChange[],
): number {
  if (before === undefined && after === undefined) return 0;
  const [left, right] = [children(path, before), children(path, after)];
  // What comes or goes as a whole is one change, and so is what becomes something of another kind.
  if (left === undefined || right === undefined || before === undefined || after === undefined) {
    const [beforeText, afterText] = [text(before), text(after)];
    if (beforeText === afterText) return 1;
    fields.push(create(FieldChangeSchema, { path, before: beforeText, after: afterText }));
    return 0;
  }
  let equal = 0;
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    equal += compare(key, left.get(key), right.get(key), fields);
  }
  return equal;
}

const text = (value: JsonValue | undefined) => (value === undefined ? "" : JSON.stringify(value));

/** The parts of a value by their paths; undefined for a leaf. `vars` is an expression, and read as a whole. */
function children(path: string, value: JsonValue | undefined): Map<string, JsonValue> | undefined {
  if (value === undefined || value === null || typeof value !== "object" || path.endsWith(".vars")) return undefined;
  if (Array.isArray(value)) {
    const names = namesOf(value);
    return new Map(value.map((element, at) => [`${path}[${names?.[at] ?? at}]`, element]));
  }
  const dot = path === "" ? "" : `${path}.`;
  return new Map(Object.entries(value).map(([key, field]) => [`${dot}${key}`, field ?? null]));
}

/** The names of a list's elements, where each has one of its own. */
function namesOf(list: readonly JsonValue[]): string[] | undefined {
  const names = list.flatMap((item) => (isObject(item) && typeof item["name"] === "string" ? [item["name"]] : []));
  return new Set(names).size === list.length ? names : undefined;
}

const isObject = (value: JsonValue): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
