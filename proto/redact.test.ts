import { fromJson, toJson } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";

import { redact } from "./redact.ts";
import { registry } from "./registry.ts";

test("private keys are hidden, also inside an Any; certificates are shown; the original stays as it is", () => {
  const cluster = fromJson(
    ClusterSchema,
    {
      name: "c",
      transportSocket: {
        name: "tls",
        typedConfig: {
          "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
          commonTlsContext: {
            tlsCertificates: [{ certificateChain: { inlineString: "CERT" }, privateKey: { inlineString: "KEY" } }],
          },
        },
      },
    },
    { registry },
  );
  const shown = JSON.stringify(toJson(ClusterSchema, redact(ClusterSchema, cluster), { registry }));
  expect(shown).toContain("CERT");
  expect(shown).not.toContain("KEY");
  expect(JSON.stringify(toJson(ClusterSchema, cluster, { registry }))).toContain("KEY");
});
