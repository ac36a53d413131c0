import type { ConsulClient } from "./client.ts";

const ANSWER_MS_MAX = 10_000;

/**
 * Whether a caller without a token may see a service: asked as Consul's own UI does. Consul doesn't tell those who come without a token that there was
 * more to see.
 * @param service "": any
 */
export async function mayRead(client: ConsulClient, service: string, signal: AbortSignal): Promise<boolean> {
  const post = [{ Resource: "service", Access: "read", Segment: service }];
  try {
    const path = "/v1/internal/acl/authorize";
    const { body } = await client.ask({ path, post, signal, timeoutMs: ANSWER_MS_MAX });
    const [answer] = Array.isArray(body) ? (body as unknown[]) : [];
    return !(typeof answer === "object" && answer !== null && "Allow" in answer && answer.Allow === false);
  } catch {
    // 401 where ACLs are switched off; whatever else it is doesn't concern the service.
    return true;
  }
}
