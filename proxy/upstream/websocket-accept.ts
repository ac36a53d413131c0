import { createHash } from "node:crypto";

/** RFC 6455, 1.3: what a server appends to the client's key. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The sec-websocket-accept that answers a sec-websocket-key (RFC 6455, 4.2.2). */
export const webSocketAccept = (key: string): string => createHash("sha1").update(`${key}${GUID}`).digest("base64");
