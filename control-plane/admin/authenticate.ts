import { randomUUID } from "node:crypto";

import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";

import type { RecordCall } from "./calls.ts";
import { actorKey, requestIdKey, startTimeKey } from "./context.ts";
import { type AdminToken, tokenMatches } from "./token.ts";
import { recordUnread } from "./unread.ts";

/** Who a bearer of the administrator's token is, in the audit. */
const ADMINISTRATOR = "administrator";

/** These show nothing but the public schema and whether the server lives. */
const openServices = new Set([
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
]);

/** What a caller may name its request; anything else gets a name from us. */
const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/**
 * Lets a call in or refuses it, before its message is read: gives it an id and requires the administrator's token.
 * @returns a request gate for Connect
 */
export function authenticate(token: AdminToken, record: RecordCall): (context: HandlerContext) => void {
  return (context) => {
    const { values, requestHeader, responseHeader, service, method } = context;
    const given = requestHeader.get("x-request-id") ?? "";
    const requestId = REQUEST_ID.test(given) ? given : randomUUID();
    values.set(requestIdKey, requestId).set(startTimeKey, performance.now());
    responseHeader.set("x-request-id", requestId);
    if (isAuthentic(token, requestHeader.get("authorization"))) {
      values.set(actorKey, ADMINISTRATOR);
      recordUnread(context, record);
      return;
    }
    if (openServices.has(service.typeName)) {
      recordUnread(context, record);
      return;
    }
    const error = new ConnectError(
      `${requestHeader.has("authorization") ? "the token is wrong" : "a token is missing"}: send the header ` +
        `"authorization: Bearer TOKEN" with the administrator's token, which the control plane has in ${token.origin}`,
      Code.Unauthenticated,
    );
    const call = { service: service.typeName, method: method.name, requestId, actor: "", durationMs: 0 };
    record({ ...call, error, cause: error });
    throw error;
  };
}

/** Whether an Authorization header carries the administrator's token (RFC 6750, 2.1). */
export function isAuthentic(token: AdminToken, authorization: string | null | undefined): boolean {
  const [, bearer] = /^bearer +(\S+)$/i.exec(authorization ?? "") ?? [];
  return bearer !== undefined && tokenMatches(token, bearer);
}
