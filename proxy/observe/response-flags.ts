/**
 * Envoy's response flags: in short, as access logs have them, in full (RESPONSE_FLAGS_LONG), and by the field of the gRPC log's
 * ResponseFlags, "" if it has none.
 */
export const responseFlags = {
  LH: ["FailedLocalHealthCheck", "failedLocalHealthcheck"],
  UH: ["NoHealthyUpstream", "noHealthyUpstream"],
  UT: ["UpstreamRequestTimeout", "upstreamRequestTimeout"],
  LR: ["LocalReset", "localReset"],
  UR: ["UpstreamRemoteReset", "upstreamRemoteReset"],
  UF: ["UpstreamConnectionFailure", "upstreamConnectionFailure"],
  UC: ["UpstreamConnectionTermination", "upstreamConnectionTermination"],
  UO: ["UpstreamOverflow", "upstreamOverflow"],
  NR: ["NoRouteFound", "noRouteFound"],
  DI: ["DelayInjected", "delayInjected"],
  FI: ["FaultInjected", "faultInjected"],
  RL: ["RateLimited", "rateLimited"],
  UAEX: ["UnauthorizedExternalService", "unauthorizedDetails"],
  RLSE: ["RateLimitServiceError", "rateLimitServiceError"],
  DC: ["DownstreamConnectionTermination", "downstreamConnectionTermination"],
  URX: ["UpstreamRetryLimitExceeded", "upstreamRetryLimitExceeded"],
  SI: ["StreamIdleTimeout", "streamIdleTimeout"],
  IH: ["InvalidEnvoyRequestHeaders", "invalidEnvoyRequestHeaders"],
  DPE: ["DownstreamProtocolError", "downstreamProtocolError"],
  UMSDR: ["UpstreamMaxStreamDurationReached", "upstreamMaxStreamDurationReached"],
  RFCF: ["ResponseFromCacheFilter", "responseFromCacheFilter"],
  NFCF: ["NoFilterConfigFound", "noFilterConfigFound"],
  DT: ["DurationTimeout", "durationTimeout"],
  UPE: ["UpstreamProtocolError", "upstreamProtocolError"],
  NC: ["NoClusterFound", "noClusterFound"],
  OM: ["OverloadManagerTerminated", "overloadManager"],
  DO: ["DropOverload", ""],
  DF: ["DnsResolutionFailed", "dnsResolutionFailure"],
  DR: ["DownstreamRemoteReset", "downstreamRemoteReset"],
} as const;

/** The flag's name in full; a flag that Envoy doesn't have stays as it is. */
export const longFlag = (flag: string): string =>
  flag in responseFlags ? responseFlags[flag as keyof typeof responseFlags][0] : flag;
