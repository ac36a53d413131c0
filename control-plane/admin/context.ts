import { createContextKey } from "@connectrpc/connect";

/** Names the request in logs and answers (header x-request-id). */
export const requestIdKey = createContextKey("", { description: "request id" });

/** Who calls, for the audit; empty until the caller is known. */
export const actorKey = createContextKey("", { description: "actor" });

/** Breaks the call off without another word, for a caller that doesn't read. */
export const cutKey = createContextKey<() => void>(() => {}, { description: "cuts the connection" });
