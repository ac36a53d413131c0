/** A listener waits for the clusters that its logs and traces go to; that of the control plane is there from the start. */
import { fromJson } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { registry } from "#proto/registry.ts";

import { listenerJson } from "../../../test/support/twins.ts";
import { referencesOf } from "../../xds/references.ts";

const grpcLog = (clusterName: string) => ({
  name: "grpc",
  typedConfig: {
    "@type": "type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
    commonConfig: { logName: "l", grpcService: { envoyGrpc: { clusterName } } },
  },
});

test("collectors' clusters are among a listener's references, but for the control plane's own", () => {
  const manager = {
    rds: { routeConfigName: "r", configSource: { ads: {} } },
    accessLog: [grpcLog("logs"), grpcLog("xds_cluster")],
    tracing: {
      provider: {
        name: "otel",
        typedConfig: {
          "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
          httpService: { httpUri: { uri: "http://x/", cluster: "traces", timeout: "1s" } },
        },
      },
    },
  };
  const message = fromJson(ListenerSchema, listenerJson("l", 1, manager), { registry });
  expect([...referencesOf(message).clusters].sort()).toEqual(["logs", "traces"]);
});
