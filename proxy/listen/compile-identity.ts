import { isIP, isIPv4 } from "node:net";

import type { TypedExtensionConfig } from "#envoy/config/core/v3/extension_pb.ts";
import {
  type CustomHeaderConfig,
  CustomHeaderConfigSchema,
} from "#envoy/extensions/http/original_ip_detection/custom_header/v3/custom_header_pb.ts";
import { type XffConfig, XffConfigSchema } from "#envoy/extensions/http/original_ip_detection/xff/v3/xff_pb.ts";
import {
  type HttpConnectionManager,
  HttpConnectionManager_ForwardClientCertDetails as Forward,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { unpack } from "#proto/registry.ts";

import type { Place } from "../compile.ts";
import {
  addressFromForwardedFor,
  addressTest,
  type Detector,
  headerDetector,
  type IdentityOptions,
} from "../filters/client-address.ts";
import type { ClientCertOptions } from "../filters/client-cert.ts";

/** Compiles what an HttpConnectionManager says of who its clients are. */
export function compileIdentity(message: HttpConnectionManager, place: Place): IdentityOptions {
  const detectors = compileDetectors(message, place);
  return {
    trustedHops: message.xffNumTrustedHops,
    appendForwardedPort: message.appendXForwardedPort,
    isInternal: compileInternal(message, place.field("internal_address_config")),
    detectors: detectors.length === 0 ? undefined : detectors,
  };
}

/** "If unset, then RFC1918 / RFC4193 IP addresses will be considered internal": of an InternalAddressConfig that is set. */
const PRIVATE = [
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["127.0.0.0", 8],
  ["fd00::", 8],
  ["::1", 128],
] as const;

function compileInternal({ internalAddressConfig: config }: HttpConnectionManager, place: Place) {
  if (config === undefined) return undefined;
  const ranges = config.cidrRanges.flatMap(({ addressPrefix, prefixLen }, index) => {
    const prefix = prefixLen ?? 0;
    if (isIP(addressPrefix) !== 0 && prefix <= (isIPv4(addressPrefix) ? 32 : 128))
      return [[addressPrefix, prefix] as const];
    place.item("cidr_ranges", index).refuse("is not a range of IP addresses");
    return [];
  });
  return ranges.length === 0 && config.cidrRanges.length > 0
    ? undefined
    : addressTest(ranges.length === 0 ? PRIVATE : ranges);
}

function compileDetectors(message: HttpConnectionManager, place: Place): Detector[] {
  const { originalIpDetectionExtensions: extensions } = message;
  const at = place.field("original_ip_detection_extensions");
  // As Envoy: two rules for one address would be one too many.
  if (extensions.length > 0 && (message.useRemoteAddress ?? false)) at.refuse("doesn't go with use_remote_address");
  if (extensions.length > 0 && message.xffNumTrustedHops > 0) at.refuse("doesn't go with xff_num_trusted_hops");
  return extensions.flatMap((extension, index) => {
    const detector = compileDetector(extension, place.item("original_ip_detection_extensions", index));
    return detector === undefined ? [] : [detector];
  });
}

function compileDetector({ typedConfig }: TypedExtensionConfig, place: Place): Detector | undefined {
  const unpacked = typedConfig && unpack(typedConfig);
  const typeName = unpacked?.kind === "message" ? unpacked.schema.typeName : "";
  if (unpacked?.kind === "message" && typeName === XffConfigSchema.typeName) {
    const { xffNumTrustedHops } = unpacked.message as XffConfig;
    return (headers) => addressFromForwardedFor(headers.get("x-forwarded-for"), xffNumTrustedHops);
  }
  if (unpacked?.kind === "message" && typeName === CustomHeaderConfigSchema.typeName) {
    const config = unpacked.message as CustomHeaderConfig;
    // As Envoy, which takes 403 for a status that is no refusal.
    const code: number = config.rejectWithStatus?.code ?? 0;
    const status = config.rejectWithStatus === undefined ? 0 : code >= 400 && code < 600 ? code : 403;
    return headerDetector(config.headerName.toLowerCase(), config.allowExtensionToSetAddressAsTrusted, status);
  }
  place.field("typed_config").refuse("only the extensions xff and custom_header are supported");
  return undefined;
}

const forwards: Readonly<Record<Forward, ClientCertOptions["forward"]>> = {
  [Forward.SANITIZE]: "sanitize",
  [Forward.FORWARD_ONLY]: "forward-only",
  [Forward.APPEND_FORWARD]: "append-forward",
  [Forward.SANITIZE_SET]: "sanitize-set",
  [Forward.ALWAYS_FORWARD_ONLY]: "always-forward-only",
};

/** Compiles what the upstream is told of client certificates. Undefined: nothing, the default. */
export function compileClientCert(message: HttpConnectionManager, place: Place): ClientCertOptions | undefined {
  const forward = forwards[message.forwardClientCertDetails];
  if (forward === undefined) place.field("forward_client_cert_details").refuse("unknown value");
  if (forward === undefined || forward === "sanitize") return undefined;
  const set = message.setCurrentClientCertDetails;
  return {
    forward,
    subject: set?.subject ?? false,
    cert: set?.cert ?? false,
    chain: set?.chain ?? false,
    dns: set?.dns ?? false,
    uri: set?.uri ?? false,
  };
}
