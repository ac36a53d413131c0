import type { StreamReport } from "./status.ts";
import { type Subscription, typeStatus } from "./subscription.ts";

/** What a stream says of itself to operators: its types, and what is wrong with what it asks for. */
export function streamReport(
  group: { readonly name: string; readonly exists: boolean },
  subscriptions: Iterable<Subscription>,
  unknownTypes: ReadonlySet<string>,
): StreamReport {
  const problems = [...unknownTypes].map((typeUrl) => `asked for the unknown resource type ${typeUrl}`);
  if (!group.exists) problems.unshift(`the gateway group ${JSON.stringify(group.name)} doesn't exist`);
  return { groupExists: group.exists, types: [...subscriptions].map(typeStatus), problems };
}
