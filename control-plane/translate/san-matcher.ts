import { create } from "@bufbuild/protobuf";

import {
  type SubjectAltNameMatcher,
  SubjectAltNameMatcher_SanType,
  SubjectAltNameMatcherSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";

import { isIpAddress } from "../model/hosts.ts";

/** Matches a certificate that carries this very name: an IP address, a URI or a DNS name. */
export const subjectAltNameMatcher = (name: string): SubjectAltNameMatcher =>
  create(SubjectAltNameMatcherSchema, {
    sanType: isIpAddress(name)
      ? SubjectAltNameMatcher_SanType.IP_ADDRESS
      : name.includes("://")
        ? SubjectAltNameMatcher_SanType.URI
        : SubjectAltNameMatcher_SanType.DNS,
    matcher: { matchPattern: { case: "exact", value: name } },
  });
