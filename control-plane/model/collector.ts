import { isIPv6 } from "node:net";

import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";

import { isDnsName, isIpAddress } from "./hosts.ts";
import { quoted, type Report } from "./problem.ts";

/** In place of an address: the control plane itself is the collector of access logs. */
export const CONTROL_PLANE = "control-plane";

/** Where a collector listens. */
export interface CollectorAddress {
  /** An IP address or a DNS name. */
  readonly host: string;
  readonly port: number;
}

/** Reads "HOST:PORT" ("[2001:db8::1]:4317" for IPv6); undefined if it is not that. */
export function parseCollector(text: string): CollectorAddress | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? "";
  const port = Number(digits);
  if (!(port >= 1 && port <= 65_535)) return undefined;
  if (bracketed === undefined ? !isIpAddress(host) && !isDnsName(host) : !isIPv6(host)) return undefined;
  return { host, port };
}

/** Reports what is wrong with the collectors that a gateway group names. */
export function checkCollectors({ accessLog, tracing }: GatewayGroup, report: Report): void {
  const check = (field: string, text: string, more = "") => {
    if (text === "" || parseCollector(text) !== undefined) return;
    report(field, "invalid_address", `${quoted(text)} is no "HOST:PORT", such as otel-collector:4317${more}`);
  };
  check("tracing.collector", tracing?.collector ?? "");
  if (accessLog?.collector !== CONTROL_PLANE)
    check("accessLog.collector", accessLog?.collector ?? "", `, nor "${CONTROL_PLANE}"`);
  if (accessLog === undefined) return;
  const { collector, logName, path, text, fields } = accessLog;
  if (collector === "" && logName !== "") {
    report(
      "accessLog.logName",
      "not_applicable",
      "is what a collector knows the log by; set collector, or leave it out",
    );
  }
  if (collector === "" || path !== "") return;
  for (const [name, set] of [["text", text !== ""] as const, ["fields", Object.keys(fields).length > 0] as const]) {
    if (set) report(`accessLog.${name}`, "not_applicable", "is for lines; set path beside collector, or leave it out");
  }
}
