/**
 * Writes discovery responses around resources that are encoded already. A message of protobuf is the concatenation of its fields, in any
 * order (protobuf encoding guide, "Message structure"), so that a response is assembled without a look into the resources' bytes.
 */
import { create, fromBinary } from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { BinaryReader } from "@bufbuild/protobuf/wire";

const BYTES = 2; // The wire type of strings, bytes and messages.

// envoy.service.discovery.v3: the fields that we write, by number.
const discoveryResponse = { versionInfo: 1, resources: 2, typeUrl: 4, nonce: 5, resourceErrors: 7 } as const;
const deltaDiscoveryResponse = {
  systemVersionInfo: 1,
  resources: 2,
  typeUrl: 4,
  nonce: 5,
  removedResources: 6,
} as const;
const resource = { version: 1, resource: 2, name: 3, aliases: 4 } as const;
const any = { typeUrl: 1, value: 2 } as const;
const resourceError = { resourceName: 1, errorDetail: 2 } as const;
const resourceName = { name: 1 } as const;
const rpcStatus = { code: 1, message: 2 } as const;

/** One resource as it stands in responses. */
export interface ResourceEntry {
  /** The field `resources` of a DeltaDiscoveryResponse: tag, length, `Resource`. */
  readonly delta: Buffer;
  /** The field `resources` of a DiscoveryResponse: tag, length, `Any`. The same memory as the end of `delta`. */
  readonly sotw: Buffer;
  /** How many bytes at the end of both are the resource message itself. */
  readonly bodySize: number;
}

/** The bytes of the resource message inside an entry, in its memory. */
export const bodyOf = ({ delta, bodySize }: ResourceEntry): Buffer => delta.subarray(delta.length - bodySize);

/**
 * Encodes one resource for both kinds of streams at once: `Resource.resource` and `DiscoveryResponse.resources` are both field 2 and both
 * an Any, so with that field written last, the end of the one is the other.
 */
export function encodeEntry(name: string, version: string, typeUrl: string, bytes: Uint8Array): ResourceEntry {
  const anySize = fieldSize(any.typeUrl, Buffer.byteLength(typeUrl)) + fieldSize(any.value, bytes.length);
  const sotwSize = fieldSize(resource.resource, anySize);
  const nameSize = fieldSize(resource.name, Buffer.byteLength(name));
  const size = fieldSize(resource.version, Buffer.byteLength(version)) + nameSize + sotwSize;
  const total = fieldSize(deltaDiscoveryResponse.resources, size);
  // Not from the pool: a resource that lives long would keep 8 kB of neighbours alive.
  const out = Buffer.allocUnsafeSlow(total);
  let at = writeHead(out, 0, deltaDiscoveryResponse.resources, size);
  at = writeString(out, at, resource.version, version);
  at = writeString(out, at, resource.name, name);
  at = writeHead(out, at, resource.resource, anySize);
  at = writeString(out, at, any.typeUrl, typeUrl);
  at = writeHead(out, at, any.value, bytes.length);
  out.set(bytes, at);
  return { delta: out, sotw: out.subarray(total - sotwSize), bodySize: bytes.length };
}

/** The resource that an entry carries; empty for one without a body. */
export function anyOf({ sotw }: ResourceEntry): Any {
  if (sotw.length === 0) return create(AnySchema);
  const reader = new BinaryReader(sotw);
  reader.tag();
  return fromBinary(AnySchema, reader.bytes());
}

/** A delta resource without a body: the name is known, and stands for nothing (O1). There is no such thing in state of the world. */
export function encodeBodiless(name: string, version: string, aliases: readonly string[]): ResourceEntry {
  const fields = [stringField(resource.version, version), stringField(resource.name, name)];
  for (const alias of aliases) fields.push(stringField(resource.aliases, alias));
  const size = fields.reduce((sum, { length }) => sum + length, 0);
  const head = Buffer.allocUnsafe(fieldSize(deltaDiscoveryResponse.resources, size) - size);
  writeHead(head, 0, deltaDiscoveryResponse.resources, size);
  return { delta: Buffer.concat([head, ...fields]), sotw: Buffer.alloc(0), bodySize: 0 };
}

/** The same resource under further names in delta (O1). */
export function withAliases({ delta, sotw, bodySize }: ResourceEntry, aliases: readonly string[]): ResourceEntry {
  const reader = new BinaryReader(delta);
  reader.tag();
  const rest = reader.bytes();
  const fields = [...aliases.map((alias) => stringField(resource.aliases, alias)), rest];
  return { delta: messageField(deltaDiscoveryResponse.resources, Buffer.concat(fields)), sotw, bodySize };
}

/** What a response says besides its resources. */
export interface ResponseHead {
  /** `version_info`, or `system_version_info` in delta. */
  readonly version: string;
  readonly typeUrl: string;
  readonly nonce: string;
}

/** An encoded response in pieces, to be sent one behind the other: the resources' bytes are shared with other streams and not copied. */
export type ResponseBytes = readonly Uint8Array[];

/**
 * An encoded DiscoveryResponse.
 *
 * @param resources the `sotw` forms of all entries, one behind the other
 * @param notFound names that are told by `resource_errors` not to exist (X4)
 */
export function encodeResponse(
  head: ResponseHead,
  resources: Uint8Array,
  notFound: readonly string[] = [],
): ResponseBytes {
  const { versionInfo, resourceErrors } = discoveryResponse;
  const errors = notFound.map((name) => messageField(resourceErrors, notFoundError(name)));
  return inPieces(versionInfo, head, resources, errors);
}

/**
 * An encoded DeltaDiscoveryResponse.
 *
 * @param resources the `delta` forms of all entries, one behind the other
 */
export function encodeDeltaResponse(
  head: ResponseHead,
  resources: Uint8Array,
  removed: readonly string[],
): ResponseBytes {
  const { systemVersionInfo, removedResources } = deltaDiscoveryResponse;
  const names = removed.map((name) => stringField(removedResources, name));
  return inPieces(systemVersionInfo, head, resources, names);
}

/** What all streams are sent alike, and last of all what only one is: its nonce. */
function inPieces(
  versionField: number,
  head: ResponseHead,
  resources: Uint8Array,
  rest: readonly Buffer[],
): ResponseBytes {
  const nonce = nonceField(head.nonce);
  if (rest.length === 0 && resources.length <= SHARED_BYTES_MAX) return [shared(versionField, head, resources), nonce];
  return [encodeHead(versionField, head), resources, ...rest, nonce];
}

/** The fields that both kinds of response begin with; type URL and nonce have one number in both. */
const encodeHead = (versionField: number, { version, typeUrl }: ResponseHead): Buffer =>
  Buffer.concat([stringField(versionField, version), stringField(discoveryResponse.typeUrl, typeUrl)]);

/** Longer resources are not copied. */
const SHARED_BYTES_MAX = 8 * 1024;

const NONE: Uint8Array = new Uint8Array();

/** The response encoded last, without its nonce: a change goes to all streams under one version. */
let last = { versionField: 0, version: "", typeUrl: "", resources: NONE, bytes: Buffer.alloc(0) };

function shared(versionField: number, head: ResponseHead, resources: Uint8Array): Buffer {
  const { version, typeUrl } = head;
  const isLast =
    last.resources === resources &&
    last.version === version &&
    last.typeUrl === typeUrl &&
    last.versionField === versionField;
  if (!isLast) {
    const bytes = Buffer.concat([encodeHead(versionField, head), resources]);
    last = { versionField, version, typeUrl, resources, bytes };
  }
  return last.bytes;
}

/** Nonces are ours: short, and in ASCII. */
function nonceField(nonce: string): Buffer {
  const out = Buffer.allocUnsafe(2 + nonce.length);
  out[0] = (discoveryResponse.nonce << 3) | BYTES;
  out[1] = nonce.length;
  for (let at = 0; at < nonce.length; at++) out[2 + at] = nonce.charCodeAt(at);
  return out;
}

const NOT_FOUND = 5; // google.rpc.Code
const VARINT = 0; // A wire type.

/** envoy.service.discovery.v3.ResourceError: NOT_FOUND. */
const notFoundError = (name: string): Buffer =>
  Buffer.concat([
    messageField(resourceError.resourceName, stringField(resourceName.name, name)),
    messageField(
      resourceError.errorDetail,
      Buffer.concat([
        Buffer.from([(rpcStatus.code << 3) | VARINT, NOT_FOUND]),
        stringField(rpcStatus.message, "there is no such resource"),
      ]),
    ),
  ]);

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

const fieldSize = (field: number, length: number) => varintSize((field << 3) | BYTES) + varintSize(length) + length;

function writeVarint(out: Buffer, at: number, value: number): number {
  let rest = value;
  let position = at;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) out[position++] = (rest % 0x80) | 0x80;
  out[position++] = rest;
  return position;
}

const writeHead = (out: Buffer, at: number, field: number, length: number) =>
  writeVarint(out, writeVarint(out, at, (field << 3) | BYTES), length);

function writeString(out: Buffer, at: number, field: number, value: string): number {
  const start = writeHead(out, at, field, Buffer.byteLength(value));
  return start + out.write(value, start);
}

/** A field of a message that holds bytes, an encoded message among them, with its head. */
export function encodeField(field: number, bytes: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(fieldSize(field, bytes.length));
  out.set(bytes, writeHead(out, 0, field, bytes.length));
  return out;
}

function stringField(field: number, value: string): Buffer {
  const out = Buffer.allocUnsafe(fieldSize(field, Buffer.byteLength(value)));
  writeString(out, 0, field, value);
  return out;
}

function messageField(field: number, message: Buffer): Buffer {
  const out = Buffer.allocUnsafe(fieldSize(field, message.length));
  message.copy(out, writeHead(out, 0, field, message.length));
  return out;
}
