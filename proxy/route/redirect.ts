import type { RedirectAction } from "#envoy/config/route/v3/route_components_pb.ts";
import { RedirectAction_RedirectResponseCode as Code } from "#envoy/config/route/v3/route_components_pb.ts";

import type { Place } from "../compile.ts";
import type { RequestHead } from "../request.ts";
import type { PathMatch } from "./path.ts";
import { type PathRewrite, prefixRewrite, regexRewrite } from "./rewrite.ts";
import type { RouteAction } from "./route.ts";
import { toWire } from "./text.ts";

const statuses: Readonly<Record<Code, number>> = {
  [Code.MOVED_PERMANENTLY]: 301,
  [Code.FOUND]: 302,
  [Code.SEE_OTHER]: 303,
  [Code.TEMPORARY_REDIRECT]: 307,
  [Code.PERMANENT_REDIRECT]: 308,
};

const withoutQuery = (path: string) => {
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
};

/** Compiles a RedirectAction (Envoy RouteEntryImplBase::newUri). */
export function compileRedirect(redirect: RedirectAction, match: PathMatch, place: Place): RouteAction | undefined {
  const status = statuses[redirect.responseCode];
  if (status === undefined) {
    place.field("response_code").refuse("unknown value");
    return undefined;
  }
  const path = pathOf(redirect, match, place);
  if (path === undefined) return undefined;
  const scheme = schemeOf(redirect);
  const host = toWire(redirect.hostRedirect);
  const port = redirect.portRedirect === 0 ? "" : `:${redirect.portRedirect}`;
  return {
    kind: "redirect",
    status,
    location(head) {
      const newScheme = scheme ?? head.scheme;
      const newHost = host === "" ? requestHost(head, newScheme, port) : host;
      return `${newScheme}://${newHost}${port}${path(head.path)}`;
    },
  };
}

/** Where a request was sent to: what Envoy tells with a direct response of 201 or 3xx, as with a redirect that changes nothing. */
export const ownLocation = (head: RequestHead): string =>
  `${head.scheme}://${requestHost(head, head.scheme, "")}${head.path}`;

function schemeOf({ schemeRewriteSpecifier: specifier }: RedirectAction): string | undefined {
  if (specifier.case === "schemeRedirect" && specifier.value !== "") return specifier.value;
  return specifier.case === "httpsRedirect" && specifier.value ? "https" : undefined;
}

function pathOf(redirect: RedirectAction, match: PathMatch, place: Place): PathRewrite | undefined {
  const { pathRewriteSpecifier: specifier, stripQuery } = redirect;
  const strip: PathRewrite = stripQuery ? withoutQuery : (path) => path;
  switch (specifier.case) {
    case "pathRedirect": {
      const wanted = toWire(specifier.value);
      if (wanted === "") return strip;
      // Its own query takes the place of the request's, and strip_query leaves it alone.
      if (wanted.includes("?") || stripQuery) return () => wanted;
      return (path) => wanted + path.slice(withoutQuery(path).length);
    }
    case "prefixRewrite": {
      if (specifier.value === "") return strip;
      const rewrite = prefixRewrite(specifier.value, match.matchedLength);
      return (path) => strip(rewrite(path));
    }
    case "regexRewrite": {
      const rewrite = regexRewrite(specifier.value, place.field("regex_rewrite"));
      return rewrite && ((path) => strip(rewrite(path)));
    }
    case undefined:
      return strip;
  }
}

/** The request's host; its port goes when another is set, or when it is the default of a scheme that changes (processRequestHost). */
function requestHost(head: RequestHead, newScheme: string, newPort: string): string {
  const host = head.authority;
  const colon = host.lastIndexOf(":");
  if (colon < 0 || (host.startsWith("[") && host.charAt(colon - 1) !== "]")) return host;
  const protocol = head.headers.get("x-forwarded-proto") ?? head.scheme;
  const port = host.slice(colon);
  const isDefault = (protocol === "http" && port === ":80") || (protocol === "https" && port === ":443");
  return newPort !== "" || (newScheme !== protocol && isDefault) ? host.slice(0, colon) : host;
}
