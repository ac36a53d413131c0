/** What tools ask of any gRPC port: health (grpc.health.v1) and reflection (v1 and v1alpha). Neither needs credentials nor tells of resources. */
import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Server,
  type ServerWritableStream,
  status,
} from "@grpc/grpc-js";

import {
  Health,
  type HealthCheckRequest,
  HealthCheckResponse_ServingStatus as Serving,
  type HealthCheckResponseSchema,
} from "#proto/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "#proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "#proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";

import { registry } from "#proto/registry.ts";

import { Reflection } from "../admin/reflection.ts";
import { typedMethods } from "./port-service.ts";

/** Streams of Health.Watch and of reflection, each. */
const STREAMS_MAX = 100;

type HealthAnswer = MessageInitShape<typeof HealthCheckResponseSchema>;
type ReflectionRequest = Parameters<Reflection["answer"]>[0];
type ReflectionAnswer = ReturnType<Reflection["answer"]>;

/**
 * Adds both to a server.
 *
 * @param served the other services of the server, which health knows and reflection shows
 * @returns what tells those who watch the health that the server ends
 */
export function addIntrospection(server: Server, served: readonly DescService[]): () => void {
  const all = [...served, Health, ServerReflection, ServerReflectionAlpha];
  const known = new Set(["", ...all.map(({ typeName }) => typeName)]);
  const watches = new Set<ServerWritableStream<HealthCheckRequest, HealthAnswer>>();

  const check: handleUnaryCall<HealthCheckRequest, HealthAnswer> = ({ request: { service } }, respond) => {
    if (known.has(service)) respond(null, { status: Serving.SERVING });
    else respond({ code: status.NOT_FOUND, details: "there is no such service" });
  };
  const watch: handleServerStreamingCall<HealthCheckRequest, HealthAnswer> = (call) => {
    if (watches.size >= STREAMS_MAX) {
      call.emit("error", { code: status.RESOURCE_EXHAUSTED, details: "too many health watches" });
      return;
    }
    watches.add(call);
    call.on("cancelled", () => watches.delete(call));
    call.write({ status: known.has(call.request.service) ? Serving.SERVING : Serving.SERVICE_UNKNOWN });
  };
  server.addService(typedMethods([Health.method.check, Health.method.watch]), { check, watch });

  // Made when somebody asks: it indexes all of Envoy's messages.
  let reflection: Reflection | undefined;
  let open = 0;
  const reflect: handleBidiStreamingCall<ReflectionRequest, ReflectionAnswer> = (call) => {
    if (open >= STREAMS_MAX) {
      call.emit("error", { code: status.RESOURCE_EXHAUSTED, details: "too many reflection streams" });
      return;
    }
    open++;
    call.once("close", () => open--);
    call.on("data", (request: ReflectionRequest) => {
      // A client that doesn't read is not read from either.
      reflection ??= new Reflection(
        all,
        [...registry].filter((each) => each.kind === "message"),
      );
      if (!call.write(reflection.answer(request))) {
        call.pause();
        call.once("drain", () => call.resume());
      }
    });
    call.on("end", () => call.end());
  };
  for (const { method } of [ServerReflection, ServerReflectionAlpha]) {
    server.addService(typedMethods([method.serverReflectionInfo]), { serverReflectionInfo: reflect });
  }
  return () => {
    for (const call of watches) {
      call.write({ status: Serving.NOT_SERVING });
      call.end();
    }
    watches.clear();
  };
}
