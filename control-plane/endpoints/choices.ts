import type { Discovery } from "#sluice/model/v1/upstream_pb.ts";

import type { Canonical } from "../../discovery/canonical.ts";
import { choose, takesAll } from "../model/choice.ts";
import { portlessWords, unusableWords, whyNoneChosen } from "../model/none-chosen.ts";
import type { Endpoints, WatchedRegistry } from "./endpoints.ts";

/** What an upstream takes of a service's endpoints. */
export interface Choice {
  readonly count: number;
  /** Why it takes none although there are some, for people. */
  readonly problem: string | undefined;
}

/** Of what was looked at: the same is asked for again and again, and endpoints have to be decoded for it. */
const known = new WeakMap<Canonical, WeakMap<Discovery, Choice>>();

const nothing: Choice = { count: 0, problem: undefined };

/** What an upstream takes of what is served of a service. */
export function choiceOf(served: Canonical | undefined, discovery: Discovery): Choice {
  if (served === undefined || served.endpointCount === 0) return nothing;
  const { endpointCount, usableCount, usableWithPortCount } = served;
  // Most upstreams: without a look at the endpoints.
  if (takesAll(discovery)) {
    if (usableWithPortCount > 0) return { count: usableWithPortCount, problem: undefined };
    const problem = usableCount === 0 ? unusableWords(endpointCount, endpointCount) : portlessWords(endpointCount);
    return { count: 0, problem };
  }
  const choices = known.get(served) ?? new WeakMap<Discovery, Choice>();
  known.set(served, choices);
  const choice = choices.get(discovery) ?? choiceAmong(served, discovery);
  choices.set(discovery, choice);
  return choice;
}

/** How many upstreams take none of the endpoints that a registry has for them. */
export function countNoneChosen(endpoints: Endpoints, { gatewayGroup, registry, supervisor }: WatchedRegistry): number {
  let count = 0;
  for (const { key, served } of supervisor.reports()) {
    for (const { discovery } of endpoints.usersOf(gatewayGroup, registry.name, key)) {
      if (choiceOf(served, discovery).problem !== undefined) count++;
    }
  }
  return count;
}

function choiceAmong(served: Canonical, discovery: Discovery): Choice {
  const { endpoints } = served.decode();
  const count = choose(endpoints, discovery).length;
  return { count, problem: count > 0 ? undefined : whyNoneChosen(endpoints, discovery) };
}
