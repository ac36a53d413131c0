import type { Message } from "@bufbuild/protobuf";

import { schemaOf } from "./kinds.ts";
import type { StoredObject } from "./objects.ts";
import { keepSecrets, redactSecrets } from "./secrets.ts";

/** Of those that have secrets: each entry of a WeakMap makes each collection of garbage longer, and most objects have none. */
const shown = new WeakMap<StoredObject, StoredObject>();

/** An object as it may be shown: every secret in it is REDACTED. The same object if it has none. */
export function redacted(object: StoredObject): StoredObject {
  const known = shown.get(object);
  if (known !== undefined) return known;
  const value: Message = redactSecrets(schemaOf(object.kind), object.value);
  if (value === object.value) return object;
  const copy = { kind: object.kind, value } as StoredObject;
  shown.set(object, copy);
  return copy;
}

/** An object that is to replace `before`, with the stored secrets where it says REDACTED. @returns also the paths where there is none */
export function withKeptSecrets(
  object: StoredObject,
  before: StoredObject | undefined,
): { readonly object: StoredObject; readonly lost: readonly string[] } {
  const schema = schemaOf(object.kind);
  const { message, lost } = keepSecrets(schema, object.value, before?.value);
  return { object: message === object.value ? object : ({ kind: object.kind, value: message } as StoredObject), lost };
}
