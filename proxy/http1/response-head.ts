import { VALUE } from "./chars.ts";
import { type FieldLimits, Message, parseFields } from "./fields.ts";
import { type Violation, violations } from "./violation.ts";

/** The head of a response, checked. The reason phrase is read over: Envoy writes its own, and so do we. */
export class ResponseMessage extends Message {
  status = 0;
  isHttp10 = false;

  constructor() {
    super(false);
  }
}

/** Reads the head of a response: status line and field lines in latin1, each ended by CRLF, without the empty line (RFC 9112, 4). */
export function parseResponseHead(text: string, limits: FieldLimits): ResponseMessage | Violation {
  const message = new ResponseMessage();
  const minor = text.charCodeAt(7);
  if (!text.startsWith("HTTP/1.") || (minor !== 0x30 && minor !== 0x31) || text.charCodeAt(8) !== 0x20) {
    return violations.version;
  }
  message.isHttp10 = minor === 0x30;
  let status = 0;
  for (let i = 9; i < 12; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (!(digit >= 0 && digit <= 9)) return violations.status;
    status = status * 10 + digit;
  }
  if (status < 100 || status > 599) return violations.status;
  message.status = status;
  let i = 12;
  // Servers that have no reason phrase often leave out the space before it, too; Envoy and nginx take that.
  if (text.charCodeAt(i) === 0x20) {
    i++;
    while (VALUE[text.charCodeAt(i)] === 1) i++;
  }
  if (!text.startsWith("\r\n", i)) return violations.startLine;
  const violation = parseFields(text, i + 2, message, limits);
  if (violation !== undefined) return violation;
  if (message.isHttp10 && message.chunked) return violations.transferEncodingOnHttp10;
  return message;
}
