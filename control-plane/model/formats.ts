import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";

import { formatStringProblem } from "./format-string.ts";
import type { Report } from "./problem.ts";

/** Reports what is wrong with the access log and the local replies of a gateway group. */
export function checkFormats({ accessLog, localReplies }: GatewayGroup, report: Report): void {
  for (const [name, value] of Object.entries(accessLog?.fields ?? {})) {
    const wrong = formatStringProblem(value);
    if (wrong !== undefined) report(`accessLog.fields[${JSON.stringify(name)}]`, "invalid_format", wrong);
  }
  const text = accessLog?.text ?? "";
  const wrong = formatStringProblem(text);
  if (wrong !== undefined) report("accessLog.text", "invalid_format", wrong);
  if (text !== "" && Object.keys(accessLog?.fields ?? {}).length > 0) {
    report("accessLog.text", "not_applicable", "stands beside fields; give only one of them");
  }
  for (const [at, reply] of localReplies.entries()) {
    const { minStatus, maxStatus, status, body, contentType } = reply;
    const inBody = formatStringProblem(body);
    if (inBody !== undefined) report(`localReplies[${at}].body`, "invalid_format", inBody);
    if (maxStatus !== 0 && maxStatus < minStatus) {
      report(`localReplies[${at}].maxStatus`, "out_of_range", `${maxStatus} is below minStatus ${minStatus}`);
    }
    if (status !== 0 && status < 200) report(`localReplies[${at}].status`, "out_of_range", "must be from 200 to 599");
    if (contentType !== "" && body === "") {
      report(`localReplies[${at}].contentType`, "not_applicable", "is that of a body; set body, or leave it out");
    }
    if (status === 0 && body === "") report(`localReplies[${at}]`, "required", "changes nothing; set status or body");
  }
}
