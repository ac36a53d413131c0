import { type Listener, ListenerProtocol, type ListenerTls } from "#sluice/model/v1/gateway_group_pb.ts";

import { certificateFacts } from "./certificate.ts";
import { quoted, type Report } from "./problem.ts";
import { unknown } from "./upstream-references.ts";
import type { State } from "./validate.ts";

/** Reports what is wrong with a listener's TLS, and the objects that it names. */
export function checkListenerTls(
  group: string,
  { protocol, tls, http2 }: Listener,
  after: State,
  report: Report,
): void {
  if (tls !== undefined && protocol !== ListenerProtocol.HTTPS) {
    report("tls", "not_applicable", "is for protocol https only; set that, or leave it out");
  }
  if (tls === undefined) return;
  if (http2 === false && tls.alpn.includes("h2")) {
    report("tls.alpn", "not_applicable", "offers h2, which http2: false forbids; leave one of them out");
  }
  checkCertificates(group, tls, after, report);
  const ca = tls.clientValidation?.ca ?? "";
  if (ca !== "" && after.member("caCertificate", group, ca) === undefined) {
    report("tls.clientValidation.ca", "unknown_ca_certificate", unknown("caCertificate", ca, group, after));
  }
}

function checkCertificates(group: string, tls: ListenerTls, after: State, report: Report): void {
  for (const [at, name] of tls.certificates.entries()) {
    if (name === "" || after.member("certificate", group, name) !== undefined) continue;
    report(`tls.certificates[${at}]`, "unknown_certificate", unknown("certificate", name, group, after));
  }
  // The first one takes every server name that no other does; one that says it does would do it twice.
  const [first, ...others] = tls.certificates.map((name) => after.member("certificate", group, name));
  const type = first && certificateFacts(first)?.keyType;
  for (const [at, other] of others.entries()) {
    const facts = other && certificateFacts(other);
    if (facts?.keyType !== type || facts?.snis.includes("*") !== true) continue;
    const said = `${quoted(other?.name ?? "")} answers to every server name, as the first certificate does`;
    report(`tls.certificates[${at + 1}]`, "duplicate_sni", `${said}; put it first`);
  }
}
