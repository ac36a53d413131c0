import { ScalarType } from "@bufbuild/protobuf";

import type { YamlNode } from "./tree.ts";

const range = (bits: number, signed: boolean): readonly [bigint, bigint] =>
  signed ? [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n] : [0n, (1n << BigInt(bits)) - 1n];

const integers: ReadonlyMap<ScalarType, { readonly range: readonly [bigint, bigint]; readonly big: boolean }> = new Map(
  [
    [ScalarType.INT32, { range: range(32, true), big: false }],
    [ScalarType.SINT32, { range: range(32, true), big: false }],
    [ScalarType.SFIXED32, { range: range(32, true), big: false }],
    [ScalarType.UINT32, { range: range(32, false), big: false }],
    [ScalarType.FIXED32, { range: range(32, false), big: false }],
    [ScalarType.INT64, { range: range(64, true), big: true }],
    [ScalarType.SINT64, { range: range(64, true), big: true }],
    [ScalarType.SFIXED64, { range: range(64, true), big: true }],
    [ScalarType.UINT64, { range: range(64, false), big: true }],
    [ScalarType.FIXED64, { range: range(64, false), big: true }],
  ],
);

/**
 * The value of a scalar field, of exactly the kind that the field has: YAML's guesses (`version: 1.10` is the number 1.1) must not change
 * what was meant. `refuse` is told what would be right; the answer is then undefined.
 */
export function readScalar(type: ScalarType, node: YamlNode, refuse: (message: string) => undefined): unknown {
  const value = node.kind === "scalar" ? node.value : undefined;
  const written = node.kind === "scalar" ? node.text : "";
  switch (type) {
    case ScalarType.STRING:
      if (typeof value === "string") return value;
      return refuse(node.kind === "scalar" ? `must be a text; write "${written}" in quotes` : "must be a text");
    case ScalarType.BOOL:
      if (typeof value === "boolean") return value;
      return refuse("must be true or false, without quotes");
    case ScalarType.BYTES: {
      if (typeof value !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) return refuse("must be base64");
      return new Uint8Array(Buffer.from(value, "base64"));
    }
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      if (typeof value === "number") return value;
      return refuse("must be a number, without quotes");
    default: {
      const kind = integers.get(type);
      if (kind === undefined) throw new Error(`no scalar type ${type}`);
      const [low, high] = kind.range;
      // Past 2^53 the parser's number is not the one that was written.
      const exact = /^[+-]?\d{1,20}$/.test(written) ? BigInt(written) : typeof value === "number" ? value : undefined;
      if (typeof value !== "number" || exact === undefined || !Number.isInteger(value)) {
        return refuse(
          typeof value === "string" && /^-?\d+$/.test(value)
            ? "must be a whole number, without quotes"
            : "must be a whole number",
        );
      }
      if (exact < low || exact > high) return refuse(`must be from ${low} to ${high}`);
      return kind.big ? BigInt(exact) : Number(exact);
    }
  }
}
