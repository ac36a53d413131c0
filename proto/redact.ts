import {
  clone,
  type DescMessage,
  getOption,
  hasOption,
  isFieldSet,
  type Message,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";

import { sensitive } from "./gen/udpa/annotations/sensitive_pb.ts";
import { unpack } from "./registry.ts";

/** What stands in the place of a secret, as in Envoy's config_dump. */
export const REDACTED = "[redacted]";

/**
 * A copy of the message without its secrets: every string and every bytes value in a field that Envoy's API marks as sensitive
 * (udpa.annotations.sensitive) is replaced, inside Anys that the registry knows as well.
 */
export function redact<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): MessageShape<Desc> {
  const copy = clone(schema, message);
  walk(schema, copy, false);
  return copy;
}

function walk(schema: DescMessage, message: Message, secret: boolean): void {
  const properties = message as unknown as Record<string, unknown>;
  for (const field of schema.fields) {
    if (!isFieldSet(message, field)) continue;
    const hidden = secret || (hasOption(field, sensitive) && getOption(field, sensitive));
    const replaced = (value: unknown): unknown => {
      if (hidden && typeof value === "string") return REDACTED;
      if (hidden && value instanceof Uint8Array) return Buffer.from(REDACTED);
      if (field.message === undefined || typeof value !== "object" || value === null || !("$typeName" in value))
        return value;
      if (field.message.typeName === "google.protobuf.Any") redactAny(value as Any, hidden);
      else walk(field.message, value as Message, hidden);
      return value;
    };
    if (field.oneof !== undefined) {
      const choice = properties[field.oneof.localName] as { case: string; value: unknown };
      choice.value = replaced(choice.value);
    } else if (field.fieldKind === "list") {
      properties[field.localName] = (properties[field.localName] as unknown[]).map(replaced);
    } else if (field.fieldKind === "map") {
      const entries = Object.entries(properties[field.localName] as object);
      properties[field.localName] = Object.fromEntries(entries.map(([key, value]) => [key, replaced(value)]));
    } else {
      properties[field.localName] = replaced(properties[field.localName]);
    }
  }
}

function redactAny(any: Any, secret: boolean): void {
  const unpacked = unpack(any);
  if (unpacked.kind !== "message") {
    // What can't be looked into can't be shown in a secret place.
    if (secret) any.value = new Uint8Array();
    return;
  }
  walk(unpacked.schema, unpacked.message, secret);
  any.value = toBinary(unpacked.schema, unpacked.message);
}
