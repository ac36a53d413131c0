import type { GrpcService } from "#envoy/config/core/v3/grpc_service_pb.ts";

import { durationMs, type Place } from "../../compile.ts";
import { Outlets } from "../outlets.ts";
import type { ExportContext } from "./collector.ts";

/** Where nothing is sent: resources that are compiled for trial. */
const NOWHERE: ExportContext = {
  cluster: () => undefined,
  secret: () => undefined,
  controlPlane: () => undefined,
  node: { id: "", cluster: "" },
};

/** What sends to collectors, of one worker. */
export class Exporters {
  readonly context: ExportContext;
  /** Exporters, and with them the log files, by key. */
  readonly outlets: Outlets;

  constructor(context: ExportContext = NOWHERE, outlets: Outlets = new Outlets()) {
    this.context = context;
    this.outlets = outlets;
  }
}

/** A gRPC service that is a cluster of ours. */
export interface GrpcTarget {
  readonly cluster: string;
  /** "": the cluster's name. */
  readonly authority: string;
  readonly timeoutMs: number;
}

/** Unary calls without a timeout of their own end after this. */
const TIMEOUT_MS_DEFAULT = 10_000;

/** Compiles a GrpcService. Undefined: a problem was reported. */
export function compileGrpcService(service: GrpcService | undefined, place: Place): GrpcTarget | undefined {
  const specifier = service?.targetSpecifier;
  if (specifier?.case !== "envoyGrpc") {
    place.refuse("only envoy_grpc is supported");
    return undefined;
  }
  const { clusterName, authority } = specifier.value;
  return { cluster: clusterName, authority, timeoutMs: durationMs(service?.timeout, 0) || TIMEOUT_MS_DEFAULT };
}
