import { expect, test } from "vitest";

import { servedType } from "#proto/resource-types.ts";

import { ResourceCache } from "./cache.ts";
import { outstanding, resourceStatuses } from "./progress.ts";
import { newSubscription, noteChanges, noteSent, type Subscription } from "./subscription.ts";
import { applyDelta, takeDelta } from "./subscription-delta.ts";

const CDS = servedType("CDS");
const traits = { legacyWildcard: true, namesWildcardOnReconnect: false, takesErrors: false };
const allowed = { updates: true, removals: true };
const nothing = { resourceNamesSubscribe: [], resourceNamesUnsubscribe: [], initialResourceVersions: {} };

/** A client that wants every cluster, on a cache that a test writes to. */
function client() {
  const cache = new ResourceCache();
  cache.update("g", []);
  cache.markReady();
  const sub: Subscription = newSubscription(CDS);
  let sent = 0;
  const answer = (refusal: string | undefined) =>
    applyDelta(sub, { ...nothing, responseNonce: String(sent), refusal }, traits, 0);
  applyDelta(sub, { ...nothing, responseNonce: "", refusal: undefined }, traits, 0);
  return {
    sub,
    answer,
    change: (publication: number | undefined, ...names: readonly string[]): void => {
      const bytes = Buffer.from(`${publication} ${names.join()}`);
      cache.update(
        "g",
        names.map((name) => ({ typeUrl: CDS.typeUrl, name, bytes })),
      );
      const changes = names.map((name) => ({ name, before: undefined, exists: true }));
      noteChanges(sub, changes, { lingers: false, nowMs: 0, publication });
    },
    send: (): void => {
      const set = cache.resources("g", CDS.typeUrl);
      const push = set && takeDelta(sub, set, allowed, 1_000_000);
      if (push !== undefined) noteSent(sub, push, String(++sent), 0);
    },
    states: () => Object.fromEntries([...resourceStatuses([sub], undefined)].map(({ name, state }) => [name, state])),
  };
}

test("a resource waits, is sent, and is accepted, refused by name, or left undecided by a refusal of others", () => {
  const { answer, change, send, states, sub } = client();
  change(1, "a", "b");
  expect(states()).toEqual({ a: "waiting", b: "waiting" });
  send();
  expect(states()).toEqual({ a: "sent", b: "sent" });
  answer("Error adding/updating cluster(s) a: bad");
  expect(states()).toEqual({ a: "refused", b: "undecided" });
  expect([...resourceStatuses([sub], undefined)]).toMatchObject([
    { name: "a", acceptedVersion: "", nack: "bad" },
    { name: "b", acceptedVersion: "", nack: "" },
  ]);
  change(2, "a");
  send();
  answer(undefined);
  expect(states()).toEqual({ a: "accepted", b: "undecided" });
});

test("what is outstanding is told by the earliest publication, and by none for what is no publication", () => {
  const { answer, change, send, sub } = client();
  send();
  answer(undefined);
  const now = () => outstanding([sub]);
  expect(now()).toEqual({ unsent: Number.POSITIVE_INFINITY, unanswered: Number.POSITIVE_INFINITY });
  change(3, "a");
  change(4, "a", "b");
  expect(now()).toEqual({ unsent: 3, unanswered: 3 });
  send();
  change(5, "b");
  expect(now()).toEqual({ unsent: 5, unanswered: 3 });
  expect(sub.inFlight?.publications).toEqual({ first: 3, last: 4 });
  answer(undefined);
  expect(now()).toEqual({ unsent: 5, unanswered: 5 });
  send();
  answer(undefined);
  change(undefined, "c");
  expect(now()).toEqual({ unsent: Number.POSITIVE_INFINITY, unanswered: Number.POSITIVE_INFINITY });
});
