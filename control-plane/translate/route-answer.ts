import { create } from "@bufbuild/protobuf";

import { DataSourceSchema } from "#envoy/config/core/v3/base_pb.ts";
import {
  type DirectResponseAction,
  DirectResponseActionSchema,
  type RedirectAction,
  RedirectAction_RedirectResponseCode,
  RedirectActionSchema,
} from "#envoy/config/route/v3/route_components_pb.ts";
import type { DirectResponse, Redirect } from "#sluice/model/v1/route_pb.ts";

import type { PathMatch } from "./path-match.ts";

/** Envoy's numbers for the statuses that a redirect may have (model/route-answer.ts). */
const redirectCodes: ReadonlyMap<number, RedirectAction_RedirectResponseCode> = new Map([
  [301, RedirectAction_RedirectResponseCode.MOVED_PERMANENTLY],
  [302, RedirectAction_RedirectResponseCode.FOUND],
  [303, RedirectAction_RedirectResponseCode.SEE_OTHER],
  [307, RedirectAction_RedirectResponseCode.TEMPORARY_REDIRECT],
  [308, RedirectAction_RedirectResponseCode.PERMANENT_REDIRECT],
]);

/** An answer that sends the client elsewhere. */
export const toRedirect = (
  { scheme, host, port, path, prefix, status, stripQuery }: Redirect,
  match: PathMatch["specifier"],
): RedirectAction =>
  create(RedirectActionSchema, {
    schemeRewriteSpecifier: scheme === "" ? { case: undefined } : { case: "schemeRedirect", value: scheme },
    hostRedirect: host,
    portRedirect: port,
    pathRewriteSpecifier: pathRewrite(path, prefix, match),
    responseCode: redirectCodes.get(status) ?? RedirectAction_RedirectResponseCode.MOVED_PERMANENTLY,
    stripQuery,
  });

function pathRewrite(
  path: string,
  prefix: string,
  match: PathMatch["specifier"],
): RedirectAction["pathRewriteSpecifier"] {
  if (path !== "") return { case: "pathRedirect", value: path };
  if (prefix === "") return { case: undefined };
  // What a route matches by prefix ends in "/"; what replaces it must as well, and does not where the whole path is replaced.
  const value = match.case === "prefix" ? prefix.replace(/\/?$/, "/") : prefix;
  return { case: "prefixRewrite", value };
}

/** A fixed answer. */
export const toDirectResponse = ({ status, body }: DirectResponse): DirectResponseAction =>
  create(DirectResponseActionSchema, {
    status,
    ...(body !== "" && { body: create(DataSourceSchema, { specifier: { case: "inlineString", value: body } }) }),
  });
