import type { Upstream } from "#sluice/model/v1/upstream_pb.ts";

import { checkDiscovery } from "./discovery.ts";
import { isIpAddress } from "./hosts.ts";
import { quoted, type Report } from "./problem.ts";
import type { State } from "./validate.ts";

/** Reports what is wrong with the objects that an upstream names. */
export function checkUpstreamReferences(upstream: Upstream, group: string, after: State, report: Report): void {
  const { discovery, nodes, tls } = upstream;
  if (discovery !== undefined) {
    const registry = after.member("registry", group, discovery.registry);
    if (registry !== undefined) checkDiscovery(discovery, registry, report);
    else if (discovery.registry !== "") {
      report("discovery.registry", "unknown_registry", unknown("registry", discovery.registry, group, after));
    }
    for (const [at, { host }] of nodes.entries()) {
      if (host === "" || isIpAddress(host)) continue;
      const right =
        "beside discovery, nodes are IP addresses: data planes look up the names of a whole upstream or of none";
      report(`nodes[${at}].host`, "invalid_host", `${quoted(host)} is a name; ${right}`);
    }
  }
  if (tls === undefined) return;
  if (discovery !== undefined && tls.verify !== false && tls.sni === "" && tls.subjectAltNames.length === 0) {
    const right = "instances that are discovered have addresses only; set the server name that all of them answer to";
    report("tls.sni", "required", right);
  }
  if (tls.ca !== "" && after.member("caCertificate", group, tls.ca) === undefined) {
    report("tls.ca", "unknown_ca_certificate", unknown("caCertificate", tls.ca, group, after));
  }
  if (tls.clientCertificate !== "" && after.member("certificate", group, tls.clientCertificate) === undefined) {
    report("tls.clientCertificate", "unknown_certificate", unknown("certificate", tls.clientCertificate, group, after));
  }
}

const words = { registry: "registry", certificate: "certificate", caCertificate: "CA certificate" } as const;

/** Says that there is no such object, and which there are. */
export function unknown(kind: keyof typeof words, name: string, group: string, after: State): string {
  const known = Array.from(after.members(kind, group), (object) => quoted(object.name)).slice(0, 5);
  const right = known.length === 0 ? "create it first" : `create it first, or use one of ${known.join(", ")}`;
  return `gateway group ${quoted(group)} has no ${words[kind]} ${quoted(name)}; ${right}`;
}
