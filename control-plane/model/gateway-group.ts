import type { GatewayGroup, Listener } from "#sluice/model/v1/gateway_group_pb.ts";

import { checkCollectors } from "./collector.ts";
import { canonicalAddress, isIpAddress } from "./hosts.ts";
import { checkListenerTls } from "./listener-tls.ts";
import { checkFormats } from "./formats.ts";
import { checkUniqueNames } from "./names.ts";
import { quoted, type Report } from "./problem.ts";
import { checkRateLimits } from "./rate-limits.ts";
import type { State } from "./validate.ts";

/** Reports what is wrong with a gateway group beyond the rules of its .proto. */
export function checkGatewayGroup(group: GatewayGroup, after: State, report: Report): void {
  checkFormats(group, report);
  checkCollectors(group, report);
  checkUniqueNames("listeners", group.listeners, report);
  checkUniqueNames("joinTokens", group.joinTokens, report);
  checkRollout(group.rollout, report);
  checkRateLimits(group, after, report);
  for (const [at, listener] of group.listeners.entries()) {
    checkListenerTls(group.name, listener, after, (field, reason, message) =>
      report(`listeners[${at}].${field}`, reason, message),
    );
    if (listener.address !== "" && !isIpAddress(listener.address)) {
      const right = 'write one of the data plane\'s addresses, such as 127.0.0.1, or "0.0.0.0" for all';
      report(
        `listeners[${at}].address`,
        "invalid_address",
        `${quoted(listener.address)} is not an IP address; ${right}`,
      );
      continue;
    }
    const other = group.listeners.slice(0, at).find((before) => overlaps(before, listener));
    if (other === undefined) continue;
    const taken = `port ${listener.port} is taken by listener ${quoted(other.name)} (${addressOf(other)})`;
    report(`listeners[${at}].port`, "duplicate_listener", `${taken}; choose another`);
  }
}

/** What is said of a trial that doesn't take place would be read and ignored. */
function checkRollout(rollout: GatewayGroup["rollout"], report: Report): void {
  if (rollout === undefined || rollout.publishToOneFirst) return;
  const set = { trialTimeout: rollout.trialTimeout, onRefusal: rollout.onRefusal, onTimeout: rollout.onTimeout };
  for (const [field, value] of Object.entries(set)) {
    if (value === undefined || value === 0) continue;
    report(
      `rollout.${field}`,
      "no_trial",
      "means something only with publishToOneFirst: true; set that, or leave it out",
    );
  }
}

const ADDRESS_DEFAULT = "127.0.0.1";

const addressOf = (listener: Listener) => listener.address || ADDRESS_DEFAULT;

/** Whether two listeners can't be bound at once: one port, and the same address or one that stands for all. */
function overlaps(a: Listener, b: Listener): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  const [left, right] = [canonicalAddress(addressOf(a)), canonicalAddress(addressOf(b))];
  // On Linux "::" takes IPv4 as well, unless told otherwise.
  return left === right || [left, right].some((address) => address === "0.0.0.0" || address === "::");
}
