import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/**
 * A message and elements of one of its repeated fields that are encoded already, as one encoded message. Fields may
 * stand in any order (protobuf encoding guide, "Field order"); here it is always the same. Elements are copied once.
 */
export function encodeWith<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  field: { readonly number: number },
  elements: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [toBinary(schema, message)];
  for (const element of elements) {
    const head = new BinaryWriter().tag(field.number, WireType.LengthDelimited).uint32(element.length);
    parts.push(head.finish(), element);
  }
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
