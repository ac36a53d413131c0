import type { RouteAction } from "#envoy/config/route/v3/route_components_pb.ts";

import type { Place } from "../compile.ts";
import { isAuthority } from "../http1/chars.ts";
import type { RequestHead } from "../request.ts";
import { regexRewrite } from "./rewrite.ts";
import type { HostRewrite } from "./route.ts";
import { pathOnly } from "./text.ts";

/** Compiles RouteAction's host_rewrite_specifier. */
export function compileHostRewrite(action: RouteAction, place: Place): HostRewrite | undefined {
  const { hostRewriteSpecifier: specifier } = action;
  switch (specifier.case) {
    case "hostRewriteLiteral":
      return specifier.value === "" ? undefined : { kind: "literal", host: specifier.value };
    case "autoHostRewrite":
      return specifier.value.value ? { kind: "auto" } : undefined;
    case "hostRewriteHeader": {
      const name = specifier.value.toLowerCase();
      return name === "" ? undefined : { kind: "computed", host: ({ headers }) => firstValue(headers, name) };
    }
    case "hostRewritePathRegex": {
      const rewrite = regexRewrite(specifier.value, place.field("host_rewrite_path_regex"));
      return rewrite && { kind: "computed", host: ({ path }) => rewrite(pathOnly(path)) };
    }
    case undefined:
      return undefined;
  }
}

function firstValue({ names, values }: RequestHead["headers"], name: string): string {
  return values[names.indexOf(name)] ?? "";
}

/**
 * Gives the request the host that the route says. What comes out of a header or a path and is no host leaves the request as it is: it would
 * be a second way to say where a request goes. `appendForwardedHost`: the host before goes to x-forwarded-host (append_x_forwarded_host).
 */
export function rewriteHost(head: RequestHead, rewrite: HostRewrite, appendForwardedHost: boolean): void {
  if (rewrite.kind === "auto") {
    // Which host that is, the endpoint decides (upstream/forward.ts).
    if (appendForwardedHost) appendHost(head);
    return;
  }
  const host = rewrite.kind === "literal" ? rewrite.host : rewrite.host(head);
  if (!isAuthority(host)) return;
  if (appendForwardedHost) appendHost(head);
  head.headers.set("x-envoy-original-host", head.authority);
  head.authority = host;
}

/** Unless it is the last one there already, as behind another gateway that kept the host (Envoy Utility::updateAuthority). */
function appendHost({ headers, authority }: RequestHead): void {
  if (authority === "") return;
  const before = headers.get("x-forwarded-host");
  if (before === undefined) headers.add("x-forwarded-host", authority);
  else if (before.slice(before.lastIndexOf(",") + 1).trim() !== authority) {
    headers.set("x-forwarded-host", `${before},${authority}`);
  }
}
