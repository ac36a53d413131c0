import type { Route } from "#sluice/model/v1/route_pb.ts";

import { upstreamHostProblem } from "./hosts.ts";
import { quoted, type Report } from "./problem.ts";

/** What a redirect may answer; 0 stands for the default. */
const redirectStatuses = [0, 301, 302, 303, 307, 308];

/** Reports what is wrong with a route that answers by itself, and with what stands beside that and has no effect. */
export function checkAnswer(route: Route, report: Report): void {
  const { answer, paths, upstream, websocket, timeouts, requestHeaders } = route;
  if (answer.case === undefined) return;
  const unused = {
    upstream: upstream !== "",
    websocket,
    timeouts: timeouts !== undefined,
    requestHeaders: requestHeaders !== undefined,
  };
  for (const [field, set] of Object.entries(unused)) {
    if (set) report(field, "not_applicable", `has no effect beside ${answer.case}, which answers without an upstream`);
  }
  if (answer.case !== "redirect") return;
  const { scheme, host, port, path, prefix, stripQuery, status } = answer.value;
  const wrong = host === "" ? undefined : upstreamHostProblem(host);
  if (wrong !== undefined) report("redirect.host", "invalid_host", wrong);
  if (port !== 0 && /:\d+$/.test(host)) {
    report("redirect.port", "not_applicable", `${quoted(host)} names a port too; give only one of them`);
  }
  if (!redirectStatuses.includes(status)) {
    report("redirect.status", "out_of_range", `${status} is no redirect; there are 301, 302, 303, 307 and 308`);
  }
  if (prefix !== "" && path !== "")
    report("redirect.prefix", "not_applicable", "stands beside path; give only one of them");
  const parameter = prefix === "" ? undefined : paths.find((each) => /\/:/.test(each));
  if (parameter !== undefined) {
    report("redirect.prefix", "not_applicable", `is for paths without parameters, and ${quoted(parameter)} has one`);
  }
  if (scheme === "" && host === "" && port === 0 && path === "" && prefix === "" && !stripQuery) {
    report("redirect", "required", "leads to where it came from; set a scheme, host, port, path or prefix");
  }
}
