import { isHttp1At, VALUE } from "./chars.ts";
import { type FieldLimits, type HeadBytes, Message, parseFields } from "./fields.ts";
import { type Violation, violations } from "./violation.ts";

const SP = 0x20;
const CR = 0x0d;
const LF = 0x0a;

/** The head of a response, checked. The reason phrase is read over: Envoy writes its own, and so do we. */
export class ResponseMessage extends Message {
  status = 0;
  isHttp10 = false;

  constructor() {
    super(false);
  }
}

/** Reads the head of a response (RFC 9112, 4). Where its end isn't in sight, there is some violation, which then says nothing. */
export function parseResponseHead(head: HeadBytes, limits: FieldLimits): ResponseMessage | Violation {
  const { bytes, from, to } = head;
  const message = new ResponseMessage();
  const minor = bytes[from + 7];
  if (!isHttp1At(bytes, from) || (minor !== 0x30 && minor !== 0x31) || bytes[from + 8] !== SP) {
    return violations.version;
  }
  message.isHttp10 = minor === 0x30;
  let status = 0;
  let at = from + 9;
  for (; at < from + 12; at++) {
    const digit = (bytes[at] as number) - 0x30;
    if (!(digit >= 0 && digit <= 9)) return violations.status;
    status = status * 10 + digit;
  }
  if (status < 100 || status > 599) return violations.status;
  message.status = status;
  // Servers that have no reason phrase often leave out the space before it, too; Envoy and nginx take that.
  if (bytes[at] === SP) {
    at++;
    while (at < to && VALUE[bytes[at] as number] === 1) at++;
  }
  if (at + 1 >= to || bytes[at] !== CR || bytes[at + 1] !== LF) return violations.startLine;
  const text = parseFields(head, at + 2, message, limits);
  if (typeof text !== "string") return text;
  if (message.isHttp10 && message.chunked) return violations.transferEncodingOnHttp10;
  if ((status < 200 || status === 204) && (message.chunked || message.contentLength > 0)) return violations.noContent;
  return message;
}
