import { create } from "@bufbuild/protobuf";

import {
  type SubjectAltNameMatcher,
  SubjectAltNameMatcher_SanType,
  SubjectAltNameMatcherSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";

import { canonicalAddress, isIpAddress } from "../model/hosts.ts";

/** Matches a certificate that carries this very name: an IP address, a URI or a DNS name. */
export const subjectAltNameMatcher = (name: string): SubjectAltNameMatcher =>
  create(SubjectAltNameMatcherSchema, {
    sanType: isIpAddress(name)
      ? SubjectAltNameMatcher_SanType.IP_ADDRESS
      : // A URI may do without "//" (urn:example:a), and no DNS name holds a colon.
        name.includes(":")
        ? SubjectAltNameMatcher_SanType.URI
        : SubjectAltNameMatcher_SanType.DNS,
    // Data planes compare texts, and know an IPv6 address by one.
    matcher: { matchPattern: { case: "exact", value: canonicalAddress(name) } },
  });
