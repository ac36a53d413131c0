import { Balance, PassHost, type Upstream, UpstreamProtocol, type UpstreamTls } from "#sluice/model/v1/upstream_pb.ts";

import { isDnsName, isIpAddress, nodeHostProblem, normalHost, upstreamHostProblem } from "./hosts.ts";
import { readCertificates } from "./pem.ts";
import { quoted, type Report } from "./problem.ts";

/** Reports what is wrong with an upstream beyond the rules of its .proto. */
export function checkUpstream(upstream: Upstream, report: Report): void {
  const hashes = upstream.balance === Balance.CONSISTENT_HASH;
  if (hashes && upstream.hashOn === undefined) {
    report("hashOn", "required", "balance consistent_hash needs it: a header, a cookie, source or path");
  } else if (!hashes && upstream.hashOn !== undefined) {
    report("hashOn", "not_applicable", "is for balance consistent_hash only; set that, or leave it out");
  }
  checkUpstreamHost(upstream, report);
  if (upstream.protocol === UpstreamProtocol.AUTO && upstream.tls === undefined) {
    report("protocol", "not_applicable", "auto is what TLS negotiates; set tls, or name the protocol");
  }
  checkNodes(upstream, report);
  if (upstream.retries === 0 && upstream.retryOn.length > 0) {
    report("retryOn", "not_applicable", "has no effect without retries; set retries, or leave it out");
  }
  if (upstream.retries === 0 && upstream.timeouts?.perTry !== undefined) {
    report("timeouts.perTry", "not_applicable", "has no effect without retries; set retries, or leave it out");
  }
  if (upstream.retryOn.includes(0))
    report("retryOn", "unknown_value", "lists a condition that says nothing; leave it out");
  if (upstream.tls !== undefined) checkTls(upstream.tls, upstream, report);
}

function checkUpstreamHost({ passHost, upstreamHost }: Upstream, report: Report): void {
  const rewrites = passHost === PassHost.REWRITE;
  if (rewrites && upstreamHost === "")
    report("upstreamHost", "required", "passHost rewrite needs it: the Host to send");
  if (upstreamHost === "") return;
  if (!rewrites) report("upstreamHost", "not_applicable", "is for passHost rewrite only; set that, or leave it out");
  const wrong = upstreamHostProblem(upstreamHost);
  if (wrong !== undefined) report("upstreamHost", "invalid_host", wrong);
}

/** What data planes take as the sum of a priority's weights (Envoy, endpoint_components.proto). */
const WEIGHTS_MAX = 0xffff_ffff;

function checkNodes({ nodes }: Upstream, report: Report): void {
  for (const [priority, ofPriority] of Map.groupBy(nodes, (node) => node.priority)) {
    const sum = ofPriority.reduce((total, { weight = 1 }) => total + weight, 0);
    if (sum <= WEIGHTS_MAX) continue;
    const said = `the nodes of priority ${priority} weigh ${sum} together`;
    report("nodes", "out_of_range", `${said}; data planes take ${WEIGHTS_MAX} at most`);
  }
  const first = new Map<string, number>();
  for (const [at, { host, port }] of nodes.entries()) {
    const wrong = host === "" ? undefined : nodeHostProblem(host);
    if (wrong !== undefined) report(`nodes[${at}].host`, "invalid_host", wrong);
    const key = `${normalHost(host)} ${port}`;
    const before = first.get(key);
    if (before === undefined) first.set(key, at);
    else
      report(
        `nodes[${at}]`,
        "duplicate",
        `${quoted(host)}, port ${port} is nodes[${before}] too; give one of them the weight of both`,
      );
  }
}

function checkTls(tls: UpstreamTls, { nodes }: Upstream, report: Report): void {
  // Server names are DNS names (RFC 6066, section 3).
  if (tls.sni !== "" && (!isDnsName(tls.sni) || isIpAddress(tls.sni))) {
    report("tls.sni", "invalid_host", `${quoted(tls.sni)} is not a DNS name`);
  }
  const names = new Set(nodes.filter(({ host }) => !isIpAddress(host)).map(({ host }) => normalHost(host)));
  const mixed = names.size > 0 && nodes.some(({ host }) => isIpAddress(host));
  if (tls.sni === "" && (names.size > 1 || mixed)) {
    report("tls.sni", "required", "the nodes have different names; set the one server name that all of them answer to");
  }
  for (const [at, name] of tls.subjectAltNames.entries()) {
    if (name === "" || isDnsName(name) || isIpAddress(name)) continue;
    report(`tls.subjectAltNames[${at}]`, "invalid_host", `${quoted(name)} is neither a DNS name nor an IP address`);
  }
  if (tls.verify === false && tls.subjectAltNames.length > 0) {
    report("tls.subjectAltNames", "not_applicable", "is not used with verify: false; set verify, or leave it out");
  }
  checkCaCertificates(tls, report);
}

function checkCaCertificates({ caCertificates, ca, verify }: UpstreamTls, report: Report): void {
  if (ca !== "" && verify === false) {
    report("tls.ca", "not_applicable", "is not used with verify: false; set verify, or leave it out");
  }
  if (ca !== "" && caCertificates !== "") {
    report("tls.ca", "not_applicable", "stands beside caCertificates; give only one of them");
  }
  if (caCertificates === "") return;
  if (verify === false) {
    report("tls.caCertificates", "not_applicable", "is not used with verify: false; set verify, or leave it out");
  }
  const read = readCertificates(caCertificates);
  if (!read.ok) for (const { reason, message } of read.problems) report("tls.caCertificates", reason, message);
}
