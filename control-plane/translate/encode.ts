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
  const head = toBinary(schema, message);
  const tag = new BinaryWriter().tag(field.number, WireType.LengthDelimited).finish();
  const length = elements.reduce((sum, each) => sum + tag.length + varintSize(each.length) + each.length, head.length);
  const bytes = new Uint8Array(length);
  bytes.set(head);
  let at = head.length;
  for (const element of elements) {
    bytes.set(tag, at);
    at = writeVarint(bytes, at + tag.length, element.length);
    bytes.set(element, at);
    at += element.length;
  }
  return bytes;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest >>>= 7) size++;
  return size;
}

/** Returns the place behind it. */
function writeVarint(bytes: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes[at++] = (rest & 0x7f) | 0x80;
  bytes[at++] = rest;
  return at;
}
