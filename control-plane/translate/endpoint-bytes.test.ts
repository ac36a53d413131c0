import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { UpstreamSchema } from "#sluice/model/v1/upstream_pb.ts";

import { encodeLoadAssignment } from "./endpoint-bytes.ts";
import { toLoadAssignment } from "./endpoints.ts";

const node = fc.record(
  {
    host: fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()),
    port: fc.nat(65_535),
    weight: fc.oneof(fc.nat(3), fc.nat(2 ** 32 - 1)),
    priority: fc.integer({ min: -2, max: 2 }),
  },
  { requiredKeys: ["host", "port"] },
);

test("endpoints are the same bytes whether a message is made of them or not", () => {
  fc.assert(
    fc.property(fc.string(), fc.array(node), (name, nodes) => {
      const upstream = create(UpstreamSchema, { name: "u", nodes });
      const expected = toBinary(ClusterLoadAssignmentSchema, toLoadAssignment(name, upstream));
      expect(Buffer.from(encodeLoadAssignment(name, upstream))).toEqual(Buffer.from(expected));
    }),
  );
});
