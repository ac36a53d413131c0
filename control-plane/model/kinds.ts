import type { DescMessage, MessageShape } from "@bufbuild/protobuf";

import { CaCertificateSchema, CertificateSchema } from "#sluice/model/v1/certificate_pb.ts";
import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { RegistrySchema } from "#sluice/model/v1/registry_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

/** What the parts of the control plane must know of a kind of object to carry it. */
interface KindFacts {
  readonly schema: DescMessage;
  /** The field of a Gateway that holds objects of the kind. */
  readonly list: string;
  /** As the database's `kind` columns say it: these words are in databases, so they never change. */
  readonly stored: string;
}

/**
 * Every kind of object, by the name that it has in `Object.kind`. The order is the one in which a gateway names them. The only such table;
 * ARCHITECTURE.md, "Adding an object kind", lists what else a new kind needs.
 */
export const objectKinds = {
  gatewayGroup: { schema: GatewayGroupSchema, list: "gatewayGroups", stored: "gateway_group" },
  service: { schema: ServiceSchema, list: "services", stored: "service" },
  registry: { schema: RegistrySchema, list: "registries", stored: "registry" },
  certificate: { schema: CertificateSchema, list: "certificates", stored: "certificate" },
  caCertificate: { schema: CaCertificateSchema, list: "caCertificates", stored: "ca_certificate" },
} as const satisfies Record<string, KindFacts>;

/** A kind of object. */
export type Kind = keyof typeof objectKinds;

/** A kind whose objects belong to a gateway group: all but the groups themselves. */
export type MemberKind = Exclude<Kind, "gatewayGroup">;

/** The message of an object of a kind. */
export type ValueOf<K extends Kind> = MessageShape<(typeof objectKinds)[K]["schema"]>;

/** Every kind, in the order of the table. */
export const kinds = Object.keys(objectKinds) as readonly Kind[];

/** Every kind whose objects belong to a gateway group. */
export const memberKinds = kinds.filter((kind): kind is MemberKind => kind !== "gatewayGroup");

/** The schema of a kind, for what treats all kinds alike. */
export const schemaOf = (kind: Kind): DescMessage => objectKinds[kind].schema;
