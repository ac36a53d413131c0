import type { Change } from "#sluice/admin/v1/common_pb.ts";

import { diffObjects } from "../model/diff.ts";
import { keyOf, type ObjectKey, sameObject, withDefaults } from "../model/objects.ts";
import type { Problem } from "../model/problem.ts";
import { withKeptSecrets } from "../model/redact.ts";
import { stillNeeded } from "../model/references.ts";
import { REDACTED } from "../model/secrets.ts";
import { validate, type WrittenObject } from "../model/validate.ts";
import type { StoreState } from "../store/mirror.ts";
import type { ObjectWrites } from "../store/store.ts";
import { forbiddenByState, invalid } from "./errors.ts";
import { Overlay } from "./overlay.ts";

/** What a request wants: objects to be as they stand in it, and others to be gone. */
export interface Wanted {
  readonly puts: readonly WrittenObject[];
  /** Keys of objects that exist. */
  readonly deletes: readonly ObjectKey[];
}

/** What has to be written for that. */
export interface Plan {
  readonly writes: ObjectWrites;
  readonly changes: readonly Change[];
  /** How many of the objects put are so already. */
  readonly unchanged: number;
}

/**
 * Checks what a request wants against the gateway as it is, and leaves out what is so already.
 * @throws ConnectError INVALID_ARGUMENT with all that is wrong with the objects, or FAILED_PRECONDITION if something would go that
 *   others need: the gateway group of services, the registry of an upstream
 */
export function plan(state: StoreState, wanted: Wanted): Plan {
  const lost: Problem[] = [];
  const written = wanted.puts.map(({ object: given, field }) => {
    const whole = withDefaults(given);
    const { object, lost: paths } = withKeptSecrets(whole, state.find(keyOf(whole))?.object);
    for (const path of paths) {
      const message = `"${REDACTED}" stands for the secret that is stored, and none is: write the secret itself`;
      lost.push({ field: `${field}.${path}.value`, reason: "redacted_secret", message });
    }
    return { object, field };
  });
  const objects = written.map(({ object }) => object);
  const after = new Overlay(state, objects, wanted.deletes);
  const problems = [...validate(written, after), ...lost];
  if (problems.length > 0) throw invalid(problems);

  const needed = wanted.deletes.flatMap((key) => stillNeeded(key, after));
  if (needed.length > 0) throw forbiddenByState(needed);

  const puts = objects.filter((object) => {
    const before = state.find(keyOf(object));
    return before === undefined || !sameObject(before.object, object);
  });
  const changes = [
    ...puts.map((object) => diffObjects(state.find(keyOf(object))?.object, object)),
    ...wanted.deletes.map((key) => diffObjects(state.find(key)?.object, undefined)),
  ];
  return { writes: { puts, deletes: wanted.deletes }, changes, unchanged: objects.length - puts.length };
}
