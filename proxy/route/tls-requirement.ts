import { VirtualHost_TlsRequirementType as Requirement } from "#envoy/config/route/v3/route_components_pb.ts";

import type { Place } from "../compile.ts";
import type { RequestHead } from "../request.ts";
import { NO_MUTATIONS } from "./header-mutations.ts";
import type { Route } from "./route.ts";

/** Whether a request must be sent to https first. */
export type TlsRequirement = (head: RequestHead) => boolean;

const notHttps = ({ headers }: RequestHead) => headers.get("x-forwarded-proto") !== "https";

/** Compiles VirtualHost.require_tls; what counts is x-forwarded-proto (Envoy VirtualHostImpl::getRouteFromEntries). Undefined: nothing. */
export function compileTlsRequirement(requirement: Requirement, place: Place): TlsRequirement | undefined {
  switch (requirement) {
    case Requirement.NONE:
      return undefined;
    case Requirement.ALL:
      return notHttps;
    case Requirement.EXTERNAL_ONLY:
      return (head) => notHttps(head) && head.headers.get("x-envoy-internal") !== "true";
    default:
      place.refuse("unknown value");
      return undefined;
  }
}

/** Where such a request is sent: 301 to the same place by https. */
export const httpsRedirect: Route = {
  name: "",
  virtualHost: "",
  mutations: NO_MUTATIONS,
  action: { kind: "redirect", status: 301, location: ({ authority, path }) => `https://${authority}${path}` },
};
