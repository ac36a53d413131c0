/**
 * The endpoints of an upstream, encoded without making messages of them: most of what a large gateway becomes is endpoints, and a message of five parts
 * for each is most of the time that a start takes.
 */
import { UInt32ValueSchema } from "@bufbuild/protobuf/wkt";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

import { AddressSchema, SocketAddressSchema } from "#envoy/config/core/v3/address_pb.ts";
import {
  EndpointSchema,
  LbEndpointSchema,
  LocalityLbEndpointsSchema,
} from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";
import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import type { Node, Upstream } from "#sluice/model/v1/upstream_pb.ts";

import { nodesByPriority, weightOf } from "./endpoints.ts";

const { clusterName, endpoints } = ClusterLoadAssignmentSchema.field;
const { priority, lbEndpoints } = LocalityLbEndpointsSchema.field;
const { endpoint, loadBalancingWeight } = LbEndpointSchema.field;
const { hostname, address } = EndpointSchema.field;
const { socketAddress } = AddressSchema.field;
const { address: host, portValue } = SocketAddressSchema.field;
const { value } = UInt32ValueSchema.field;

/** The bytes of `toLoadAssignment`. */
export function encodeLoadAssignment(name: string, upstream: Upstream): Uint8Array {
  const writer = new BinaryWriter();
  writeText(writer, clusterName, name);
  for (const [envoyPriority, nodes] of nodesByPriority(upstream).entries()) {
    begin(writer, endpoints);
    for (const node of nodes) writeEndpoint(writer, node);
    writeNumber(writer, priority, envoyPriority);
    writer.join();
  }
  return writer.finish();
}

function writeEndpoint(writer: BinaryWriter, node: Node): void {
  begin(writer, lbEndpoints);
  begin(writer, endpoint);
  begin(writer, address);
  begin(writer, socketAddress);
  writeText(writer, host, node.host);
  // One of several ways to name a port, and so there even if it is 0.
  writer.tag(portValue.number, WireType.Varint).uint32(node.port);
  writer.join().join();
  writeText(writer, hostname, node.host);
  writer.join();
  begin(writer, loadBalancingWeight);
  writeNumber(writer, value, weightOf(node));
  writer.join().join();
}

/** Of a field of a message. */
interface Field {
  readonly number: number;
}

/** A message, up to the `join` that belongs to it. */
const begin = (writer: BinaryWriter, { number }: Field) => writer.tag(number, WireType.LengthDelimited).fork();

/** Nothing, where it is what the field is without (proto3). */
function writeText(writer: BinaryWriter, { number }: Field, text: string): void {
  if (text !== "") writer.tag(number, WireType.LengthDelimited).string(text);
}

function writeNumber(writer: BinaryWriter, { number }: Field, count: number): void {
  if (count !== 0) writer.tag(number, WireType.Varint).uint32(count);
}
