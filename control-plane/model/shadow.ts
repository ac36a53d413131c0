import { toJsonString } from "@bufbuild/protobuf";
import { ListValueSchema } from "@bufbuild/protobuf/wkt";

import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { compareRoutes, type RouteRank } from "./order.ts";
import { parsePath, parsePathPrefix, type PathPattern } from "./paths.ts";
import { quoted, type Report } from "./problem.ts";

/** A route under one of its paths. */
interface Entry {
  readonly route: Route;
  readonly rank: RouteRank;
  /** Equal for expressions that are written alike. */
  readonly vars: string;
}

/**
 * Reports routes that no request can reach, since under each of their paths others of the service, tried before, take
 * all that they would. It finds what can be decided on paper: the same path, the methods all taken, and vars that are
 * absent or written alike. A wider path never shadows: the order of routes tries narrower ones first.
 */
export function checkReachable(service: Service, report: Report): void {
  const entries = entriesOf(service);
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

/** Equal for patterns that match the same paths. */
const patternKey = (pattern: PathPattern) =>
  pattern.map((segment) => (segment.kind === "literal" ? `/${segment.text}` : `/{${segment.kind}}`)).join("");

function entriesOf(service: Service): Entry[] {
  const prefix = parsePathPrefix(service.pathPrefix);
  const before: PathPattern = prefix.ok ? prefix.value : [];
  return service.routes.flatMap((route, position) => {
    if (route.enabled === false) return [];
    const vars =
      route.vars === undefined || route.vars.values.length === 0 ? "" : toJsonString(ListValueSchema, route.vars);
    return route.paths.flatMap((path): Entry[] => {
      const parsed = parsePath(path);
      if (!parsed.ok) return [];
      const rank = {
        pattern: [...before, ...parsed.value],
        priority: route.priority,
        hasVars: vars !== "",
        hasMethods: route.methods.length > 0,
        service: service.name,
        position,
      };
      return [{ route, rank, vars }];
    });
  });
}

/**
 * Which of the routes before an entry, all with its path, together take all its requests; undefined if some are left.
 */
function shadowOf(entry: Entry, before: readonly Entry[]): readonly Route[] | undefined {
  const candidates = before.filter(({ route, vars }) => route !== entry.route && (vars === "" || vars === entry.vars));
  const takesAll = candidates.find(({ route }) => route.methods.length === 0);
  if (takesAll !== undefined) return [takesAll.route];
  const { methods } = entry.route;
  const takers = methods.map((method) => candidates.find(({ route }) => route.methods.includes(method))?.route);
  const found = takers.filter((route) => route !== undefined);
  return methods.length > 0 && found.length === methods.length ? found : undefined;
}
