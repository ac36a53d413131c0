/** Who names whom among the objects of a gateway group, so that nothing goes that another object needs. */
import type { Upstream } from "#sluice/model/v1/upstream_pb.ts";

import { memberKinds } from "./kinds.ts";
import { keyText, type ObjectKey } from "./objects.ts";
import type { Problem } from "./problem.ts";
import type { State } from "./validate.ts";

/** Why an object can't go: what would be left without it. @param after all objects as they would be without it */
export function stillNeeded(key: ObjectKey, after: State): Problem[] {
  if (key.kind === "gatewayGroup") return membersLeft(key, after);
  // Written again in the same request.
  if (after.member(key.kind, key.gatewayGroup, key.name) !== undefined) return [];
  const users = usersOf(key, after);
  if (users.length === 0) return [];
  const message = `${keyText(key)} is used by ${some(users)}; change that first`;
  return [{ field: "", reason: `${key.kind === "registry" ? "registry" : "certificate"}_in_use`, message }];
}

function membersLeft(key: ObjectKey, after: State): Problem[] {
  return memberKinds.flatMap((kind) => {
    const names = Array.from(after.members(kind, key.name), ({ name }) => name);
    if (names.length === 0) return [];
    const word = {
      service: "service",
      registry: "registry",
      certificate: "certificate",
      caCertificate: "caCertificate",
    };
    const message = `${keyText(key)} has ${names.length} ${word[kind]}(s) (${some(names)}); delete or move them first`;
    return [{ field: "", reason: "group_in_use", message }];
  });
}

/** The users of an object, as in "service orders". */
function usersOf({ kind, gatewayGroup, name }: ObjectKey, after: State): string[] {
  const uses = usesOf(kind, name);
  // Nobody names objects of this kind, and there may be very many to ask.
  if (uses === undefined) return [];
  const services = Array.from(after.members("service", gatewayGroup))
    .filter(({ upstreams }) => upstreams.some(uses))
    .map((service) => `service ${service.name}`);
  const listeners = (after.gatewayGroup(gatewayGroup)?.listeners ?? [])
    .filter(({ tls }) =>
      kind === "certificate"
        ? tls?.certificates.includes(name)
        : kind === "caCertificate" && tls?.clientValidation?.ca === name,
    )
    .map((listener) => `listener ${listener.name}`);
  return [...listeners, ...services];
}

function usesOf(kind: ObjectKey["kind"], name: string): ((upstream: Upstream) => boolean) | undefined {
  switch (kind) {
    case "registry":
      return ({ discovery }) => discovery?.registry === name;
    case "certificate":
      return ({ tls }) => tls?.clientCertificate === name;
    case "caCertificate":
      return ({ tls }) => tls?.ca === name;
    default:
      return undefined;
  }
}

const some = (names: readonly string[]) =>
  names.length > 5 ? `${names.slice(0, 5).join(", ")}, ...` : names.join(", ");
