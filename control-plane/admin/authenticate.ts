import { randomUUID } from "node:crypto";

import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";

import { LeaseService } from "#sluice/discovery/v1/lease_service_pb.ts";

import type { RecordCall } from "./calls.ts";
import { actorKey, leaseTokenKey, requestIdKey, startTimeKey } from "./context.ts";
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

/** The service that programs with tokens of their own may call; it looks at what each of them is good for. */
const LEASE_SERVICE = LeaseService.typeName;

/**
 * Lets a call in or refuses it, before its message is read: gives it an id and requires the administrator's token, or for reports of
 * instances one that is good for that.
 * @param isLeaseToken whether some registry has the token
 * @returns a request gate for Connect
 */
export function authenticate(
  token: AdminToken,
  record: RecordCall,
  isLeaseToken: (token: string) => boolean,
): (context: HandlerContext) => void {
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
    const bearer = bearerOf(requestHeader.get("authorization"));
    if (service.typeName === LEASE_SERVICE && bearer !== undefined && isLeaseToken(bearer)) {
      values.set(actorKey, "reporter").set(leaseTokenKey, bearer);
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
  const bearer = bearerOf(authorization);
  return bearer !== undefined && tokenMatches(token, bearer);
}

const bearerOf = (authorization: string | null | undefined) => /^bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
