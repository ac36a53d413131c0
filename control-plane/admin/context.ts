import { createContextKey } from "@connectrpc/connect";

/** Names the request in logs and answers (header x-request-id). */
export const requestIdKey = createContextKey("", { description: "request id" });

/** Who calls, for the audit; empty until the caller is known. */
export const actorKey = createContextKey("", { description: "actor" });

/** A token that the caller has, and that is good for reporting instances alone; empty for the administrator. */
export const leaseTokenKey = createContextKey("", { description: "lease token" });

/** Breaks the call off without another word, for a caller that doesn't read. */
export const cutKey = createContextKey<() => void>(() => {}, { description: "cuts the connection" });

/** When the call came in (performance.now()). */
export const startTimeKey = createContextKey(0, { description: "start time, ms" });

/** Whether the call's request could be read, so that the interceptors have it. */
export const readKey = createContextKey(false, { description: "request was read" });
