import type { NacosRegistry } from "#sluice/model/v1/registry_pb.ts";
import type { SecretValue } from "#sluice/model/v1/secret_pb.ts";

import { DiscoveryError } from "../source.ts";

import { NacosSource } from "./source.ts";

/**
 * The source that a Registry object describes.
 * @param read gives a secret its value
 * @throws {DiscoveryError} bad_settings, with all that is wrong
 */
export function nacosSource(registry: NacosRegistry, read: (secret: SecretValue) => string): NacosSource {
  const {
    namespace,
    group,
    grpcPortOffset,
    username,
    password,
    accessKey,
    secretKey,
    signatureRegion,
    contextPath,
    tls,
  } = registry;
  const problems: string[] = [];
  const addresses = registry.addresses.map((address) => {
    const url = URL.parse(address);
    if (url === null || !["http:", "https:"].includes(url.protocol) || url.username || url.password) {
      problems.push(`addresses: ${url?.username ? "one with a user in it" : address} is no http or https URL`);
      return address;
    }
    if (contextPath) url.pathname = contextPath;
    return url.href;
  });
  if ((accessKey === "") !== (secretKey === undefined)) problems.push("access_key: goes together with a secret_key");
  if (signatureRegion !== "" && accessKey === "") problems.push("signature_region: goes together with an access_key");
  if ((username === "") !== (password === undefined)) problems.push("username: goes together with a password");
  if (Boolean(tls?.certificateChain) !== (tls?.privateKey !== undefined)) {
    problems.push("tls: certificate_chain and private_key go together");
  }
  if (problems.length > 0) throw new DiscoveryError("bad_settings", problems.join("; "));
  return new NacosSource({
    addresses,
    namespace,
    group,
    grpcPortOffset,
    username,
    ...(password === undefined ? {} : { password: read(password) }),
    ...(secretKey === undefined
      ? {}
      : { keys: { accessKey, secretKey: read(secretKey), region: signatureRegion || undefined } }),
    tls: {
      ca: tls?.caCertificates || undefined,
      cert: tls?.certificateChain || undefined,
      key: tls?.privateKey === undefined ? undefined : read(tls.privateKey),
      serverName: tls?.serverName || undefined,
      verify: tls?.verify,
    },
  });
}
