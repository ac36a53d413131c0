import { equals } from "@bufbuild/protobuf";

import type { Change } from "#sluice/admin/v1/common_pb.ts";
import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { diffObjects } from "../model/diff.ts";
import { keyOf, keyText, type ObjectKey, type StoredObject, withDefaults } from "../model/objects.ts";
import type { Problem } from "../model/problem.ts";
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
 * @throws ConnectError INVALID_ARGUMENT with all that is wrong with the objects, or FAILED_PRECONDITION if a gateway group
 *   would go while services belong to it
 */
export function plan(state: StoreState, wanted: Wanted): Plan {
  const written = wanted.puts.map(({ object, field }) => ({ object: withDefaults(object), field }));
  const objects = written.map(({ object }) => object);
  const after = new Overlay(state, objects, wanted.deletes);
  const problems = validate(written, after);
  if (problems.length > 0) throw invalid(problems);

  const left = wanted.deletes.flatMap((key) => servicesLeft(key, after));
  if (left.length > 0) throw forbiddenByState(left);

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

/** Whether two objects say the same, in every field. */
function sameObject(a: StoredObject, b: StoredObject): boolean {
  if (a.kind === "gatewayGroup" && b.kind === "gatewayGroup") return equals(GatewayGroupSchema, a.value, b.value);
  if (a.kind === "service" && b.kind === "service") return equals(ServiceSchema, a.value, b.value);
  return false;
}

/** Why a gateway group can't go: the services that would lose it. */
function servicesLeft(key: ObjectKey, after: Overlay): Problem[] {
  if (key.kind !== "gatewayGroup") return [];
  const names = Array.from(after.servicesOf(key.name), ({ name }) => name);
  if (names.length === 0) return [];
  const some = names.length > 5 ? `${names.slice(0, 5).join(", ")}, ...` : names.join(", ");
  const message = `${keyText(key)} has ${names.length} service(s) (${some}); delete or move them first`;
  return [{ field: "", reason: "group_in_use", message }];
}
