import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { RouteActionSchema, RouteSchema } from "#envoy/config/route/v3/route_components_pb.ts";

import { methodMatchers } from "./matchers.ts";
import { encodePlainRoute } from "./route-bytes.ts";

const methods = fc.subarray(["GET", "HEAD", "POST", "DELETE"]);

test("routes are the same bytes whether a message is made of them or not", () => {
  const specifier = fc.record({ case: fc.constantFrom("path", "prefix"), value: fc.string() });
  fc.assert(
    fc.property(fc.string(), specifier, methods, fc.string(), (name, match, ofRoute, cluster) => {
      const action = create(RouteActionSchema, { clusterSpecifier: { case: "cluster", value: cluster } });
      const expected = create(RouteSchema, {
        name,
        match: { pathSpecifier: match, headers: [...methodMatchers(ofRoute)] },
        action: { case: "route", value: action },
      });
      const bytes = encodePlainRoute({
        ...{ name, match, methods: ofRoute },
        action: { field: RouteSchema.field.route, bytes: toBinary(RouteActionSchema, action) },
      });
      expect(Buffer.from(bytes)).toEqual(Buffer.from(toBinary(RouteSchema, expected)));
    }),
  );
});
