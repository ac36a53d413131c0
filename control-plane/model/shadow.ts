import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { compareRoutes } from "./order.ts";
import { quoted, type Report } from "./problem.ts";
import { patternKey, type RouteEntry, routeEntries } from "./route-entries.ts";

/**
 * Reports routes that no request can reach, since under each of their paths others of the service, tried before, take
 * all that they would. It finds what can be decided on paper: the same path, the methods all taken, and vars that are
 * absent or written alike. A wider path never shadows: the order of routes tries narrower ones first.
 */
export function checkReachable(service: Service, report: Report): void {
  const entries = routeEntries(service);
  const shadows = new Map<number, (readonly Route[] | undefined)[]>();
  for (const rivals of Map.groupBy(entries, ({ rank }) => patternKey(rank.pattern)).values()) {
    rivals.sort((a, b) => compareRoutes(a.rank, b.rank));
    for (const [at, entry] of rivals.entries()) {
      const found = shadowOf(entry, rivals.slice(0, at));
      shadows.set(entry.rank.position, [...(shadows.get(entry.rank.position) ?? []), found]);
    }
  }
  for (const [position, found] of [...shadows].sort(([a], [b]) => a - b)) {
    if (found.includes(undefined)) continue;
    const names = [...new Set(found.flatMap((routes) => routes ?? []))].map(({ name }) => quoted(name));
    const takers = `${names.join(" and ")} of the same service`;
    const take = `${takers} ${names.length > 1 ? "take" : "takes"} all its requests first`;
    const message = `route ${quoted(service.routes[position]?.name ?? "")} can never be reached: ${take}`;
    report(`routes[${position}]`, "unreachable_route", `${message}; give it a higher priority, vars or another path`);
  }
}

/**
 * Which of the routes before an entry, all with its path, together take all its requests; undefined if some are left.
 */
function shadowOf(entry: RouteEntry, before: readonly RouteEntry[]): readonly Route[] | undefined {
  const candidates = before.filter(({ route, vars }) => route !== entry.route && (vars === "" || vars === entry.vars));
  const takesAll = candidates.find(({ route }) => route.methods.length === 0);
  if (takesAll !== undefined) return [takesAll.route];
  const { methods } = entry.route;
  const takers = methods.map((method) => candidates.find(({ route }) => route.methods.includes(method))?.route);
  const found = takers.filter((route) => route !== undefined);
  return methods.length > 0 && found.length === methods.length ? found : undefined;
}
