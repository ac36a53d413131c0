import type { Service } from "#sluice/model/v1/service_pb.ts";

import { checkHeaderMutations } from "./header-mutations.ts";
import { hostProblem, normalHost } from "./hosts.ts";
import { checkUniqueNames } from "./names.ts";
import { GATEWAY_GROUP_DEFAULT } from "./objects.ts";
import { parsePathPrefix } from "./paths.ts";
import { quoted, type Report } from "./problem.ts";
import { checkRoute } from "./route.ts";
import { checkReachable } from "./shadow.ts";
import { checkUpstream } from "./upstream.ts";
import { checkUpstreamReferences } from "./upstream-references.ts";
import type { State } from "./validate.ts";

/** Reports what is wrong with a service beyond the rules of its .proto, seen together with all other objects. */
export function checkService(service: Service, after: State, report: Report): void {
  const group = service.gatewayGroup || GATEWAY_GROUP_DEFAULT;
  checkHosts(service.hosts, report);
  checkHeaderMutations("requestHeaders", service.requestHeaders, report);
  checkHeaderMutations("responseHeaders", service.responseHeaders, report);
  const prefix = parsePathPrefix(service.pathPrefix);
  if (!prefix.ok) for (const { reason, message } of prefix.problems) report("pathPrefix", reason, message);

  checkUniqueNames("upstreams", service.upstreams, report);
  for (const [at, upstream] of service.upstreams.entries()) {
    const reportAt = below(`upstreams[${at}]`, report);
    checkUpstream(upstream, reportAt);
    checkUpstreamReferences(upstream, group, after, reportAt);
  }
  checkUniqueNames("routes", service.routes, report);
  for (const [at, route] of service.routes.entries()) checkRoute(route, service, below(`routes[${at}]`, report));
  checkReachable(service, report);
}

function checkHosts(hosts: readonly string[], report: Report): void {
  const first = new Map<string, number>();
  for (const [at, host] of hosts.entries()) {
    const wrong = host === "" ? undefined : hostProblem(host);
    if (wrong !== undefined) report(`hosts[${at}]`, "invalid_host", wrong);
    const before = first.get(normalHost(host));
    // Equal spellings break a rule of the .proto already.
    if (before !== undefined && hosts[before] !== host) {
      report(`hosts[${at}]`, "duplicate", `${quoted(host)} is hosts[${before}] in other letters; hosts know no case`);
    }
    first.set(normalHost(host), before ?? at);
  }
}

const below =
  (parent: string, report: Report): Report =>
  (field, reason, message) =>
    report(field === "" ? parent : `${parent}.${field}`, reason, message);
