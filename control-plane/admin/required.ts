import { invalid } from "./errors.ts";

/** A field that the request must have; protovalidate has seen to it, so that this is for the type checker. */
export function requiredObject<Value>(value: Value | undefined, field: string): Value {
  if (value === undefined) throw invalid([{ field, reason: "required", message: "must be set" }]);
  return value;
}
