/** What tools ask of any gRPC port: health (grpc.health.v1) and reflection (v1 and v1alpha). Neither needs credentials nor tells of resources. */
import type { DescService } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { status } from "@grpc/grpc-js";

import {
  Health,
  HealthCheckResponse_ServingStatus as Serving,
  HealthCheckResponseSchema,
} from "#proto/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "#proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "#proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";

import { registry } from "#proto/registry.ts";

import { Reflection } from "../admin/reflection.ts";
import { type PortService, PortStreams, unaryMethod } from "./port-service.ts";

/** Streams of Health.Watch and of reflection, each. */
const STREAMS_MAX = 100;

/** Both. @param served the other services of the server, which health knows and reflection shows */
export function introspection(served: readonly DescService[]): readonly PortService[] {
  const all = [...served, Health, ServerReflection, ServerReflectionAlpha];
  return [health(all), ...reflections(all)];
}

function health(services: readonly DescService[]): PortService {
  const known = new Set(["", ...services.map(({ typeName }) => typeName)]);
  const check = unaryMethod(Health.method.check, ({ service }) =>
    known.has(service)
      ? create(HealthCheckResponseSchema, { status: Serving.SERVING })
      : { code: status.NOT_FOUND, details: "there is no such service" },
  );
  const watch = new PortStreams(Health.method.watch, STREAMS_MAX, (call) => {
    let asked = false;
    return {
      message({ service }) {
        if (asked) {
          call.end({ code: status.INVALID_ARGUMENT, details: "the call has more than one message" });
          return;
        }
        asked = true;
        call.send({ status: known.has(service) ? Serving.SERVING : Serving.SERVICE_UNKNOWN });
      },
      halfClosed() {
        if (!asked) call.end({ code: status.INVALID_ARGUMENT, details: "the call has no message" });
      },
      closing() {
        call.send({ status: Serving.NOT_SERVING });
        call.end();
      },
    };
  });
  return { service: Health, methods: [check, watch], close: () => watch.close() };
}

function reflections(services: readonly DescService[]): readonly PortService[] {
  // Made when somebody asks: it indexes all of Envoy's messages.
  let made: Reflection | undefined;
  const reflection = () =>
    (made ??= new Reflection(
      services,
      [...registry].filter((each) => each.kind === "message"),
    ));
  const v1 = new PortStreams(ServerReflection.method.serverReflectionInfo, STREAMS_MAX, (call) => ({
    message: (request) => call.send(reflection().answer(request)),
  }));
  const v1alpha = new PortStreams(ServerReflectionAlpha.method.serverReflectionInfo, STREAMS_MAX, (call) => ({
    message: (request) => call.send(reflection().answer(request)),
  }));
  return [
    { service: ServerReflection, methods: [v1], close: () => v1.close() },
    { service: ServerReflectionAlpha, methods: [v1alpha], close: () => v1alpha.close() },
  ];
}
