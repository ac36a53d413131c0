import type { DescEnumValue, DescMessage, JsonValue, MessageShape } from "@bufbuild/protobuf";
import { type DescField, type Message, ScalarType, toJson } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import {
  DurationSchema,
  isWrapperDesc,
  ListValueSchema,
  StructSchema,
  TimestampSchema,
  timestampDate,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";

import { formatDuration } from "./duration.ts";

/**
 * A message in the spelling of gateway files: lowerCamelCase fields, short enum values, durations as "1m30s", times as RFC 3339, fields that
 * are not set left out. 64-bit integers are numbers where a number holds them exactly, and texts beyond.
 */
export const toPlain = <Desc extends DescMessage>(
  desc: Desc,
  message: MessageShape<Desc>,
): { [key: string]: JsonValue } => plainFields(reflect(desc, message));

function plainFields(message: ReflectMessage): { [key: string]: JsonValue } {
  const plain: { [key: string]: JsonValue } = {};
  for (const field of message.fields) {
    if (message.isSet(field)) plain[field.jsonName] = plainField(message, field);
  }
  return plain;
}

function plainField(message: ReflectMessage, field: DescField): JsonValue {
  switch (field.fieldKind) {
    case "list":
      return [...message.get(field)].map((item) => plainValue(field, item));
    case "map":
      return Object.fromEntries([...message.get(field)].map(([key, item]) => [String(key), plainValue(field, item)]));
    default:
      return plainValue(field, message.get(field));
  }
}

function plainValue(field: DescField, value: unknown): JsonValue {
  if (field.enum !== undefined) {
    const known = field.enum.value[value as number];
    // A newer server may know more values.
    return known === undefined ? (value as number) : shortName(known);
  }
  if (field.message !== undefined) return plainMessage(value as ReflectMessage);
  switch (field.scalar) {
    case ScalarType.BYTES:
      return Buffer.from(value as Uint8Array).toString("base64");
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64: {
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : String(value);
    }
    default:
      return value as string | number | boolean;
  }
}

function plainMessage(value: ReflectMessage): JsonValue {
  // A Struct in a field is plain JSON already.
  if (!("desc" in value)) return value as JsonValue;
  const { desc, message } = value;
  if (is(message, DurationSchema)) return formatDuration(message);
  if (is(message, TimestampSchema)) return timestampDate(message).toISOString();
  const json = [ListValueSchema, ValueSchema, StructSchema].some(({ typeName }) => typeName === desc.typeName);
  return json || isWrapperDesc(desc) ? toJson(desc, message) : plainFields(value);
}

const is = <Desc extends DescMessage>(message: Message, desc: Desc): message is MessageShape<Desc> =>
  message.$typeName === desc.typeName;

/**
 * The name of an enum's value in a gateway file: without the enum's own name (buf lint ENUM_VALUE_PREFIX), in lower case.
 * BALANCE_ROUND_ROBIN -> "round_robin". protobuf-es has such a prefix too (`sharedPrefix`), but not where a value would then begin with
 * a digit (RETRY_ON_5XX).
 */
export function shortName(value: DescEnumValue): string {
  const prefix = `${value.parent.name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toUpperCase()}_`;
  return (value.name.startsWith(prefix) ? value.name.slice(prefix.length) : value.name).toLowerCase();
}
