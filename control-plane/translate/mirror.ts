import { create } from "@bufbuild/protobuf";

import {
  type RouteAction_RequestMirrorPolicy,
  RouteAction_RequestMirrorPolicySchema,
} from "#envoy/config/route/v3/route_components_pb.ts";
import { FractionalPercent_DenominatorType } from "#envoy/type/v3/percent_pb.ts";
import type { Mirror } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { clusterName } from "./names.ts";

const MILLIONTHS_PER_PERCENT = 10_000;

/** Where copies of a route's requests go. */
export const toMirrorPolicy = (service: Service, { upstream, percent }: Mirror): RouteAction_RequestMirrorPolicy =>
  create(RouteAction_RequestMirrorPolicySchema, {
    cluster: clusterName(service, upstream),
    ...(percent !== undefined && {
      runtimeFraction: {
        defaultValue: {
          numerator: Math.round(percent * MILLIONTHS_PER_PERCENT),
          denominator: FractionalPercent_DenominatorType.MILLION,
        },
      },
    }),
    // An upstream that looks at the host would not know "-shadow".
    disableShadowHostSuffixAppend: true,
  });
