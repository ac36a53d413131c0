import { isIP } from "node:net";

import type {
  ConsulRegistry,
  DnsRegistry,
  KubernetesRegistry,
  NacosRegistry,
  Registry,
  RegistryTls,
} from "#sluice/model/v1/registry_pb.ts";

import { checkUniqueNames } from "./names.ts";
import { readCertificates } from "./pem.ts";
import { quoted, type Report } from "./problem.ts";

/** Reports what is wrong with a registry beyond the rules of its .proto. */
export function checkRegistry({ kind }: Registry, report: Report): void {
  switch (kind.case) {
    case "kubernetes":
      return checkKubernetes(kind.value, report);
    case "consul":
      return checkConsul(kind.value, report);
    case "nacos":
      return checkNacos(kind.value, report);
    case "dns":
      return checkDns(kind.value, report);
    case "leases":
      return checkUniqueNames("leases.tokens", kind.value.tokens, report);
    default:
      // A file's path has a rule, and that a kind is missing is a rule's to say.
      return;
  }
}

function checkKubernetes({ access, context }: KubernetesRegistry, report: Report): void {
  if (context !== "" && access.case !== "kubeconfig") {
    report("kubernetes.context", "not_applicable", "is one of a kubeconfig; give that too, or leave it out");
  }
  if (access.case !== "apiServer") return;
  const { url, tls } = access.value;
  checkUrl("kubernetes.apiServer.url", url, report);
  if (tls !== undefined) checkTls("kubernetes.apiServer.tls", tls, [url], report);
}

function checkConsul({ addresses, tls }: ConsulRegistry, report: Report): void {
  for (const [at, address] of addresses.entries()) checkUrl(`consul.addresses[${at}]`, address, report);
  if (tls !== undefined) checkTls("consul.tls", tls, addresses, report);
}

function checkNacos(nacos: NacosRegistry, report: Report): void {
  for (const [at, address] of nacos.addresses.entries()) checkUrl(`nacos.addresses[${at}]`, address, report);
  for (const [at, address] of nacos.addresses.entries()) {
    const port = Number(URL.parse(address)?.port || (address.startsWith("https:") ? 443 : 8848));
    if (nacos.grpcPortOffset === undefined || port + nacos.grpcPortOffset <= 65_535) continue;
    report("nacos.grpcPortOffset", "out_of_range", `added to the port of addresses[${at}] is no port`);
  }
  if (nacos.tls !== undefined) checkTls("nacos.tls", nacos.tls, nacos.addresses, report);
  together("nacos", "username", nacos.username !== "", "password", nacos.password !== undefined, report);
  together("nacos", "accessKey", nacos.accessKey !== "", "secretKey", nacos.secretKey !== undefined, report);
  if (nacos.signatureRegion !== "" && nacos.accessKey === "") {
    report("nacos.signatureRegion", "not_applicable", "is for signatures; give an accessKey too, or leave it out");
  }
}

function checkDns({ resolvers }: DnsRegistry, report: Report): void {
  for (const [at, resolver] of resolvers.entries()) {
    const [, bracketed, plain = resolver, digits] = /^(?:\[(.*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(resolver) ?? [];
    const port = Number(digits ?? 53);
    if (isIP(bracketed ?? plain) === 0 || port < 1 || port > 65_535) {
      const right = "an IP address with or without a port, such as 10.0.0.2, 10.0.0.2:53 or [fd00::2]:53";
      report(`dns.resolvers[${at}]`, "invalid_address", `${quoted(resolver)} is no name server; write ${right}`);
    }
  }
}

function checkUrl(field: string, text: string, report: Report): void {
  if (text === "") return;
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === "") {
    report(field, "invalid_url", `${quoted(text)} is no address; write it like http://host:port or https://host:port`);
  } else if (url.username !== "" || url.password !== "") {
    // Not quoted: it would be shown with its password.
    report(
      field,
      "credentials_in_url",
      "holds a name or password, which would be shown; they have fields of their own",
    );
  } else if (url.search !== "" || url.hash !== "") {
    report(field, "invalid_url", `${quoted(text)} has a query or fragment; an address has none`);
  }
}

function checkTls(field: string, tls: RegistryTls, addresses: readonly string[], report: Report): void {
  if (addresses.every((address) => !address.startsWith("https:"))) {
    report(field, "not_applicable", "is for addresses that begin with https; change them, or leave it out");
  }
  for (const [name, pem] of [
    ["caCertificates", tls.caCertificates],
    ["certificateChain", tls.certificateChain],
  ] as const) {
    const read = pem === "" ? undefined : readCertificates(pem);
    if (read?.ok === false)
      for (const { reason, message } of read.problems) report(`${field}.${name}`, reason, message);
  }
  together(field, "certificateChain", tls.certificateChain !== "", "privateKey", tls.privateKey !== undefined, report);
}

/** Reports the one of two fields that is missing beside the other. */
function together(at: string, a: string, hasA: boolean, b: string, hasB: boolean, report: Report): void {
  if (hasA === hasB) return;
  const [missing, other] = hasA ? [b, a] : [a, b];
  report(`${at}.${missing}`, "required", `must be set beside ${other}, or both left out`);
}
