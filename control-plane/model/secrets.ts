/**
 * Secrets in objects (sluice.model.v1.SecretValue). Inside the control plane an object holds them as they are; on its way out of it they
 * are replaced (redactSecrets), on its way into the database sealed (store/seal.ts), and what comes in redacted gets back what is stored
 * (keepSecrets).
 */
import { clone, type DescField, type DescMessage, type Message, type MessageShape } from "@bufbuild/protobuf";

import { type SecretValue, SecretValueSchema } from "#sluice/model/v1/secret_pb.ts";

/** What stands for a secret wherever objects are shown. */
export const REDACTED = "********";

// Messages in lists and maps would need an identity to find their secrets again; the model has secrets in plain fields only.
const plans = new Map<DescMessage, readonly DescField[]>();

/** The fields of a message that are secrets or lead to some. */
function fieldsToSecrets(schema: DescMessage, above: readonly DescMessage[] = []): readonly DescField[] {
  const known = plans.get(schema);
  if (known !== undefined) return known;
  const found = schema.fields.filter(
    ({ fieldKind, message }) =>
      fieldKind === "message" &&
      (message === SecretValueSchema ||
        (!above.includes(message) && fieldsToSecrets(message, [...above, schema]).length > 0)),
  );
  if (above.length === 0) plans.set(schema, found);
  return found;
}

/** A secret of a message with its path, in the words of a gateway file. */
interface FoundSecret {
  readonly path: string;
  readonly secret: SecretValue;
}

/** Every secret in a message, in the order of its fields. */
export function secretsIn(schema: DescMessage, message: Message, path = ""): FoundSecret[] {
  return fieldsToSecrets(schema).flatMap((field) => {
    const value = fieldValue(message, field);
    if (value === undefined || field.message === undefined) return [];
    const at = path === "" ? field.jsonName : `${path}.${field.jsonName}`;
    return field.message === SecretValueSchema
      ? [{ path: at, secret: value as SecretValue }]
      : secretsIn(field.message, value, at);
  });
}

function fieldValue(message: Message, field: DescField): Message | undefined {
  if (field.oneof === undefined) return Reflect.get(message, field.localName) as Message | undefined;
  const chosen = Reflect.get(message, field.oneof.localName) as { case?: string; value?: Message };
  return chosen.case === field.localName ? chosen.value : undefined;
}

/**
 * A copy with other sources in its secrets; the same message if it has none. `change` gets each secret with its path; undefined leaves it.
 */
export function mapSecrets<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  change: (found: FoundSecret) => SecretValue["source"] | undefined,
): MessageShape<Desc> {
  if (secretsIn(schema, message).length === 0) return message;
  const copy = clone(schema, message);
  for (const found of secretsIn(schema, copy)) found.secret.source = change(found) ?? found.secret.source;
  return copy;
}

/** A message as it may be shown: no secret is left in it. */
export const redactSecrets = <Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): MessageShape<Desc> =>
  mapSecrets(schema, message, ({ secret: { source } }) =>
    source.case === "value" || source.case === "sealed" ? { case: "value", value: REDACTED } : undefined,
  );

/**
 * A message in which every redacted secret is again the one of `before`, at the same path.
 * @returns also the paths of those that `before` doesn't have
 */
export function keepSecrets<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  before: MessageShape<Desc> | undefined,
): { readonly message: MessageShape<Desc>; readonly lost: readonly string[] } {
  const stored = new Map(
    before === undefined ? [] : secretsIn(schema, before).map(({ path, secret }) => [path, secret.source]),
  );
  const lost: string[] = [];
  const kept = mapSecrets(schema, message, ({ path, secret: { source } }) => {
    if (source.case !== "value" || source.value !== REDACTED) return undefined;
    const own = stored.get(path);
    if (own?.case !== "value") lost.push(path);
    return own?.case === "value" ? own : undefined;
  });
  return { message: kept, lost };
}
