import { fromBinary, type Message } from "@bufbuild/protobuf";

import { violations } from "#proto/constraints.ts";
import type { ResourceType } from "#proto/resource-types.ts";

import type { Compiled, Problem } from "../compile.ts";
import { type FieldTable, unsupportedFields } from "./fields.ts";

/** Problems told of one resource; more would only be cut off (see {@link errorDetail}). */
const PROBLEMS_MAX = 50;

/** Bytes of an error_detail's message. grpc refuses trailers and headers beyond 8 KB, and servers log the text (envoy#9785). */
export const ERROR_DETAIL_BYTES_MAX = 4096;

/** What judges a resource. */
export interface Decoder {
  /** What the proxy does with each field. */
  readonly fields: FieldTable;
  /** Compiles the resource for trial; what cannot be compiled is refused. */
  readonly validate: (typeUrl: string, message: Message) => readonly Problem[];
}

/**
 * Reads one resource off the wire and judges it whole: well-formed protobuf, of the name it travels under, within Envoy's constraints,
 * with no field set that we would not obey, and fit to be compiled. Either the message or all reasons why not.
 */
export function decodeResource(
  type: ResourceType,
  name: string,
  bytes: Uint8Array,
  decoder: Decoder,
): Compiled<Message> {
  let message: Message;
  try {
    message = fromBinary(type.schema, bytes);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ok: false, problems: [{ field: "", message: `it cannot be read as ${type.schema.typeName}: ${reason}` }] };
  }
  const problems: Problem[] = [];
  const ownName = (message as unknown as Record<string, unknown>)[type.nameField];
  if (ownName !== name) {
    // Rule D13: a resource is known by the name in its envelope; two names would make two resources of one.
    problems.push({
      field: type.nameField === "name" ? "name" : "cluster_name",
      message: `it is ${JSON.stringify(ownName)}, but the resource was sent as ${JSON.stringify(name)}`,
    });
  }
  problems.push(...violations(type.schema, message).slice(0, PROBLEMS_MAX));
  problems.push(...unsupportedFields(type.schema, message, decoder.fields, PROBLEMS_MAX));
  // A message that breaks its own rules is none that the compilers are written for.
  if (problems.length === 0) problems.push(...decoder.validate(type.typeUrl, message));
  return problems.length === 0 ? { ok: true, value: message } : { ok: false, problems };
}

/** A resource of a response that was refused. */
export interface Refusal {
  readonly name: string;
  readonly problems: readonly Problem[];
}

/**
 * The text of a NACK: every refused resource by name with its reasons, cut at {@link ERROR_DETAIL_BYTES_MAX}. All resources are named
 * before the reasons of any one are given in full, as far as there is room.
 */
export function errorDetail(type: ResourceType, refusals: readonly Refusal[]): string {
  const each = refusals.map(({ name, problems }) => {
    const reasons = problems.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`));
    return `${name}: ${reasons.join("; ")}`;
  });
  const head = `${type.shortName}: ${refusals.length} resource${refusals.length === 1 ? "" : "s"} refused: `;
  const whole = head + each.join(" | ");
  if (Buffer.byteLength(whole) <= ERROR_DETAIL_BYTES_MAX) return whole;
  const share = Math.max(80, Math.floor((ERROR_DETAIL_BYTES_MAX - head.length) / each.length) - 3);
  return cut(head + each.map((text) => cut(text, share)).join(" | "), ERROR_DETAIL_BYTES_MAX);
}

/** The text, or as much of its beginning as fits in `bytesMax` with an ellipsis, cut between characters. */
function cut(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= bytesMax) return text;
  let end = bytesMax - 3;
  // Bytes 10xxxxxx continue a character in UTF-8.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return `${bytes.toString("utf8", 0, end)}…`;
}
