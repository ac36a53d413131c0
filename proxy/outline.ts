/**
 * What has to be known of an encoded resource before it is worth decoding. Fields are read off the wire, everything else is passed over.
 * https://protobuf.dev/programming-guides/encoding/
 */
import { BinaryReader } from "@bufbuild/protobuf/wire";

import { Cluster_DiscoveryType, ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";

const { type: discoveryType, clusterType } = ClusterSchema.field;
const { domains } = VirtualHostSchema.field;

/** Whether an encoded Cluster has its endpoints by EDS. */
export function isOfEds(cluster: Uint8Array): boolean {
  const reader = new BinaryReader(cluster);
  let isOfEds = false;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    // Of the members of a oneof the last one counts.
    if (field === discoveryType.number) isOfEds = reader.int32() === Cluster_DiscoveryType.EDS;
    else {
      if (field === clusterType.number) isOfEds = false;
      reader.skip(wireType, field);
    }
  }
  return isOfEds;
}

/** The domains of an encoded VirtualHost, as they are written. */
export function domainsOf(virtualHost: Uint8Array): string[] {
  const reader = new BinaryReader(virtualHost);
  const found: string[] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === domains.number) found.push(reader.string());
    else reader.skip(wireType, field);
  }
  return found;
}
