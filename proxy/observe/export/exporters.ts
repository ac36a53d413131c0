import type { GrpcService } from "#envoy/config/core/v3/grpc_service_pb.ts";

import { durationMs, type Place } from "../../compile.ts";
import type { ExportContext } from "./collector.ts";

/** Something that sends what it is given to a collector. */
export interface Exporter {
  close(): Promise<void>;
}

/** Where nothing is sent: resources that are compiled for trial. */
const NOWHERE: ExportContext = {
  cluster: () => undefined,
  secret: () => undefined,
  controlPlane: () => undefined,
  node: { id: "", cluster: "" },
};

/** The exporters of one worker. Two configurations that agree share one, so that a listener that changes keeps its streams. */
export class Exporters {
  readonly context: ExportContext;
  readonly #byKey = new Map<string, Exporter>();

  constructor(context: ExportContext = NOWHERE) {
    this.context = context;
  }

  /** The exporter of a key; made when first asked for. Keys of one kind of exporter begin alike, and as no other's. */
  get<Kind extends Exporter>(key: string, make: () => Kind): Kind {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known as Kind;
    const made = make();
    this.#byKey.set(key, made);
    return made;
  }

  /** Sends what is left. */
  async close(): Promise<void> {
    await Promise.all([...this.#byKey.values()].map((exporter) => exporter.close()));
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
