import { codeName, codes } from "./frames.ts";
import type { StreamEnd } from "./handlers.ts";

/** What is logged of a client's stream that ended before its response did. */
export interface Abort {
  /** Envoy's response flag; "": none. */
  readonly flag: string;
  /** Envoy's RESPONSE_CODE_DETAILS; "": none. */
  readonly details: string;
}

/** A head with a field that is none, one that is whole but no request, and one beyond the limits, as Envoy calls them. */
export const refusals = {
  field: { flag: "DPE", details: "http2.invalid.header.field" },
  message: { flag: "DPE", details: "http2.violation.of.messaging.rule" },
  tooLarge: { flag: "DR", details: "http2.too_many_headers" },
} as const satisfies Record<string, Abort>;

const NOTHING_WRONG: Abort = { flag: "", details: "" };
const RESET: Abort = { flag: "DR", details: "http2.remote_reset" };
const REFUSED: Abort = { flag: "DR", details: "http2.remote_refuse" };
const GONE: Abort = { flag: "DC", details: "downstream_remote_disconnect" };

/** As Envoy has it, but for errors for which it has no name or that of a library. `code`: of the reset, or of the connection's error. */
export function abortOf(end: StreamEnd, code: number): Abort {
  switch (end) {
    case "reset by peer":
      if (code === codes.NO_ERROR) return NOTHING_WRONG;
      return code === codes.REFUSED_STREAM ? REFUSED : RESET;
    case "broken by peer":
      if (code === codes.PROTOCOL_ERROR) return refusals.message;
      return { flag: "DPE", details: `http2.${codeName(code).toLowerCase()}` };
    case "connection broken by peer":
      return { flag: "DPE", details: `codec_error:${codeName(code)}` };
    default:
      return GONE;
  }
}
