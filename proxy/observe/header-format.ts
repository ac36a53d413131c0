import type { HeaderValueOption } from "#envoy/config/core/v3/base_pb.ts";

import type { Place } from "../compile.ts";
import { isFieldValue } from "../http1/chars.ts";
import { toWire } from "../route/text.ts";
import type { RequestRecord } from "./access-log.ts";
import { parseFormat } from "./format.ts";

/** Makes a header's value for a request, as wire text; what is unset is empty (Envoy: omit_empty_values). */
export type HeaderFormat = (record: RequestRecord) => string;

/**
 * Compiles the value of a header that the configuration adds: text with command operators, "%%" for a percent sign. What an operator yields
 * may come from anywhere (a certificate's subject, say), so a value that could break out of its line becomes empty. Undefined: a problem was
 * reported.
 */
export function compileHeaderFormat(header: HeaderValueOption["header"], place: Place): HeaderFormat | undefined {
  const raw = header?.rawValue ?? new Uint8Array(0);
  if (raw.length > 0 && header?.value !== "") place.refuse("only one of value and raw_value may be set");
  const text = raw.length > 0 ? Buffer.from(raw).toString("utf8") : (header?.value ?? "");
  const pieces = parseFormat(text, place).map((piece) => (typeof piece === "string" ? toWire(piece) : piece));
  if (pieces.some((piece) => typeof piece === "string" && !isFieldValue(piece))) {
    place.field("value").refuse("has characters that a header value may not have");
    return undefined;
  }
  const [only = ""] = pieces;
  if (pieces.length <= 1 && typeof only === "string") return () => only;
  return (record) => {
    let value = "";
    for (const piece of pieces) value += typeof piece === "string" ? piece : (piece(record) ?? "");
    return isFieldValue(value) ? value : "";
  };
}
