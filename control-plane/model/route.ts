import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { alternatives } from "./alternatives.ts";
import { checkHeaderMutations } from "./header-mutations.ts";
import { UPSTREAM_DEFAULT } from "./objects.ts";
import { parsePath } from "./paths.ts";
import { quoted, type Report } from "./problem.ts";
import { checkAnswer } from "./route-answer.ts";
import { parseVars } from "./vars.ts";

/** How many Envoy routes one route may become: its paths times the alternatives of its vars. */
const COMPILED_ROUTES_MAX = 512;

/** Reports what is wrong with a route beyond the rules of its .proto. */
export function checkRoute(route: Route, service: Service, report: Report): void {
  for (const [at, path] of route.paths.entries()) {
    // That it doesn't start with "/" is a rule of the .proto.
    const parsed = path.startsWith("/") ? parsePath(path) : undefined;
    if (parsed?.ok === false)
      for (const { reason, message } of parsed.problems) report(`paths[${at}]`, reason, message);
  }
  checkVars(route, report);
  checkHeaderMutations("requestHeaders", route.requestHeaders, report);
  checkHeaderMutations("responseHeaders", route.responseHeaders, report);
  checkAnswer(route, report);
  if (route.answer.case !== undefined) {
    if (route.mirrors.length > 0)
      report("mirrors", "no_upstream", "a route that answers by itself has nothing to copy");
    return;
  }
  const name = route.upstream || UPSTREAM_DEFAULT;
  for (const [at, mirror] of route.mirrors.entries()) {
    // That it names none is a rule of the .proto.
    if (mirror.upstream === "" || hasUpstream(service, mirror.upstream)) continue;
    const message = `the service has no upstream ${quoted(mirror.upstream)}; ${upstreamsOf(service)}`;
    report(`mirrors[${at}].upstream`, "unknown_upstream", message);
  }
  if (hasUpstream(service, name)) return;
  const there = upstreamsOf(service);
  const message =
    route.upstream === ""
      ? `the route names no upstream, and the service has none named ${quoted(UPSTREAM_DEFAULT)}; ${there}`
      : `the service has no upstream ${quoted(name)}; ${there}`;
  report("upstream", "unknown_upstream", message);
}

const hasUpstream = ({ upstreams }: Service, name: string): boolean =>
  upstreams.some((upstream) => upstream.name === name);

/** Says which upstreams there are. */
function upstreamsOf({ upstreams }: Service): string {
  const known = upstreams.map((upstream) => quoted(upstream.name)).slice(0, 5);
  return known.length === 0 ? "it has none" : `it has ${known.join(", ")}`;
}

function checkVars(route: Route, report: Report): void {
  const expression = parseVars(route.vars);
  const expanded = expression.ok ? alternatives(expression.value) : expression;
  if (!expanded.ok) {
    for (const { field, reason, message } of expanded.problems) report(`vars${field}`, reason, message);
    return;
  }
  const compiled = expanded.value.length * route.paths.length;
  if (compiled <= COMPILED_ROUTES_MAX) return;
  const product = `${route.paths.length} paths and ${expanded.value.length} alternatives`;
  report(
    "vars",
    "too_complex",
    `${product} make ${compiled} routes, at most ${COMPILED_ROUTES_MAX} are allowed; split the route`,
  );
}
