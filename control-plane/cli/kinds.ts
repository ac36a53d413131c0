import type { Gateway, Object$ } from "#sluice/model/v1/gateway_pb.ts";

/** A kind of object, as the API and as people call it. */
interface KindWords {
  /** As Object's oneof says it. */
  readonly kind: NonNullable<Object$["kind"]["case"]>;
  /** The field of a Gateway that holds them. */
  readonly list: Exclude<keyof Gateway, "$typeName" | "$unknown">;
  readonly noun: string;
  readonly plural: string;
}

/** Every kind of object, gateway groups first. */
export const kinds = [
  { kind: "gatewayGroup", list: "gatewayGroups", noun: "gateway-group", plural: "gateway-groups" },
  { kind: "service", list: "services", noun: "service", plural: "services" },
  { kind: "registry", list: "registries", noun: "registry", plural: "registries" },
  { kind: "certificate", list: "certificates", noun: "certificate", plural: "certificates" },
  { kind: "caCertificate", list: "caCertificates", noun: "ca-certificate", plural: "ca-certificates" },
] as const satisfies readonly KindWords[];

/** A row of the table of kinds. */
export type KnownKind = (typeof kinds)[number];

/** The kind that a user means: "service", "services", "gateway-group", "group". */
export const kindNamed = (word: string): KnownKind | undefined =>
  kinds.find(
    ({ noun, plural }) =>
      word === noun || word === plural || `gateway-${word}` === noun || `gateway-${word}` === plural,
  );
