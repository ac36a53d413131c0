import { isIP } from "node:net";

import type { DescField } from "@bufbuild/protobuf";
import { UInt32ValueSchema } from "@bufbuild/protobuf/wkt";

import { Cluster_EdsClusterConfigSchema, ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { AddressSchema, SocketAddressSchema } from "#envoy/config/core/v3/address_pb.ts";
import {
  EndpointSchema,
  LbEndpointSchema,
  LocalityLbEndpointsSchema,
} from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import {
  RouteActionSchema,
  RouteMatchSchema,
  RouteSchema,
  VirtualHostSchema,
} from "#envoy/config/route/v3/route_components_pb.ts";
import type { ResourceType } from "#proto/resource-types.ts";

import type { Part, Parts, TextUse } from "./shape-reader.ts";

const partsOf = (...all: readonly (readonly [DescField, Part])[]): Parts => {
  const parts: (Part | undefined)[] = [];
  for (const [{ number }, part] of all) parts[number] = part;
  return parts;
};

const text = (as?: TextUse): Part => ({ kind: "text", ...(as && { as }) });
const checked = (check: (text: string) => boolean): Part => ({ kind: "text", check });
const message = (inside: Parts): Part => ({ kind: "message", inside });
const item = (inside: Parts): Part => ({ kind: "item", inside });
const never: Part = { kind: "never" };

// Whoever lets a field be judged by its value adds no more here, and whoever lets one field's value decide on another one takes it out: the property
// test (known-shapes.test.ts) holds these tables against the judgement of whole messages.

const cluster = ClusterSchema.field;
const ofCluster = partsOf(
  [cluster.name, text("name")],
  [cluster.altStatName, text()],
  [cluster.edsClusterConfig, message(partsOf([Cluster_EdsClusterConfigSchema.field.serviceName, text("endpoints")]))],
  // They may name files and environment variables, which are read when it is judged, and may be others the next time.
  [cluster.transportSocket, never],
  [cluster.transportSocketMatches, never],
);

const socketAddress = SocketAddressSchema.field;
const ofAddress = partsOf([
  AddressSchema.field.socketAddress,
  message(
    partsOf(
      [socketAddress.address, checked((address) => isIP(address) !== 0)],
      [socketAddress.portValue, { kind: "number", min: 0, max: 65_535 }],
    ),
  ),
]);
const lbEndpoint = LbEndpointSchema.field;
const ofEndpoint = partsOf(
  [
    lbEndpoint.endpoint,
    message(partsOf([EndpointSchema.field.address, message(ofAddress)], [EndpointSchema.field.hostname, text()])),
  ],
  [
    lbEndpoint.loadBalancingWeight,
    message(partsOf([UInt32ValueSchema.field.value, { kind: "number", min: 1, max: 0xffff_ffff }])),
  ],
);
const locality: Part = {
  kind: "message",
  repeated: true,
  inside: partsOf([LocalityLbEndpointsSchema.field.lbEndpoints, item(ofEndpoint)]),
};
const ofAssignment = partsOf(
  [ClusterLoadAssignmentSchema.field.clusterName, text("name")],
  [ClusterLoadAssignmentSchema.field.endpoints, locality],
);

const match = RouteMatchSchema.field;
const ofMatch = partsOf(
  [match.prefix, text()],
  [match.path, text()],
  [match.pathSeparatedPrefix, checked((prefix) => /^[^?#]+[^?#/]$/.test(prefix))],
);
const action = RouteActionSchema.field;
const ofAction = partsOf(
  [action.cluster, text("cluster")],
  // What names clusters otherwise is looked at as a whole.
  [action.weightedClusters, never],
  [action.prefixRewrite, text()],
);
const ofRoute = partsOf(
  [RouteSchema.field.name, text()],
  [RouteSchema.field.match, message(ofMatch)],
  [RouteSchema.field.route, message(ofAction)],
);
const ofVirtualHost = partsOf(
  [VirtualHostSchema.field.name, text("name")],
  [VirtualHostSchema.field.domains, { kind: "text", as: "domain", repeated: true }],
  [VirtualHostSchema.field.routes, item(ofRoute)],
);

/** What takes no part in the judgement of resources of which there may be tens of thousands. */
export const partsByType: Partial<Record<ResourceType["shortName"], Parts>> = {
  CDS: ofCluster,
  EDS: ofAssignment,
  VHDS: ofVirtualHost,
};
