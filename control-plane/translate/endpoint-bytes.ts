/**
 * The endpoints of an upstream, encoded without making messages of them: most of what a large gateway becomes is endpoints, and a message of five parts
 * for each is most of the time that a start takes.
 */
import { UInt32ValueSchema } from "@bufbuild/protobuf/wkt";

import { AddressSchema, SocketAddressSchema } from "#envoy/config/core/v3/address_pb.ts";
import {
  EndpointSchema,
  LbEndpointSchema,
  LocalityLbEndpointsSchema,
} from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import type { Node, Upstream } from "#sluice/model/v1/upstream_pb.ts";

import { nodesByPriority, weightOf } from "./endpoints.ts";
import { MessageWriter } from "./message-writer.ts";

const { clusterName, endpoints } = ClusterLoadAssignmentSchema.field;
const { priority, lbEndpoints } = LocalityLbEndpointsSchema.field;
const { endpoint, loadBalancingWeight } = LbEndpointSchema.field;
const { hostname, address } = EndpointSchema.field;
const { socketAddress } = AddressSchema.field;
const { address: host, portValue } = SocketAddressSchema.field;
const { value } = UInt32ValueSchema.field;

const writer = new MessageWriter();

/** The bytes of `toLoadAssignment`. */
export const encodeLoadAssignment = (name: string, upstream: Upstream): Uint8Array<ArrayBuffer> =>
  writer.encode(() => {
    // Last things first (message-writer.ts).
    const localities = nodesByPriority(upstream);
    for (let envoyPriority = localities.length - 1; envoyPriority >= 0; envoyPriority--) {
      const before = writer.written;
      writer.number(priority, envoyPriority);
      for (const node of (localities[envoyPriority] ?? []).toReversed()) writeEndpoint(node);
      writer.endMessage(endpoints, before);
    }
    writer.text(clusterName, name);
  });

function writeEndpoint(node: Node): void {
  const before = writer.written;
  writer.number(value, weightOf(node));
  writer.endMessage(loadBalancingWeight, before);
  const beforeEndpoint = writer.written;
  writer.text(hostname, node.host);
  const beforeAddress = writer.written;
  // One of several ways to name a port, and so there even if it is 0.
  writer.oneofNumber(portValue, node.port);
  writer.text(host, node.host);
  writer.endMessage(socketAddress, beforeAddress);
  writer.endMessage(address, beforeAddress);
  writer.endMessage(endpoint, beforeEndpoint);
  writer.endMessage(lbEndpoints, before);
}
