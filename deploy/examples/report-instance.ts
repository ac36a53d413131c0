/**
 * A program that reports itself to a registry of the kind `leases`, for as long as it runs. With an SDK that buf makes:
 *
 *     npm install @connectrpc/connect @connectrpc/connect-node @bufbuild/protobuf @bufbuild/buf @bufbuild/protoc-gen-es
 *     echo '{ version: v2, plugins: [{ local: protoc-gen-es, out: gen, include_imports: true, opt: [target=ts, import_extension=ts, erasable_syntax=true] }] }' > buf.gen.yaml
 *     npx buf generate PATH/TO/sluice/proto
 *     SLUICE_TOKEN=sluice_lease_... node report-instance.ts http://127.0.0.1:9180 own carts 10.0.0.1 8080
 */
import { setTimeout as sleep } from "node:timers/promises";

import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { LeaseService } from "./gen/sluice/discovery/v1/lease_service_pb.ts";

const [baseUrl = "", registry = "", service = "", address = "", port = ""] = process.argv.slice(2);
const TTL_MS = 30_000;

const leases = createClient(
  LeaseService,
  createGrpcTransport({
    baseUrl,
    defaultTimeoutMs: 5_000,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${process.env["SLUICE_TOKEN"]}`);
        return next(request);
      },
    ],
  }),
);

// The same for as long as the instance runs.
const name = { service: { service }, id: `${address}:${port}` };
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());

let isReported = false;
let waitMs = 0;
while (!stop.signal.aborted) {
  try {
    if (!isReported) {
      const instance = { name, endpoint: { address, port: Number(port) }, ttl: durationFromMs(TTL_MS) };
      const { heartbeatInterval } = await leases.report({ registry, instances: [instance] });
      waitMs = heartbeatInterval ? durationMs(heartbeatInterval) : TTL_MS / 3;
      isReported = true;
      console.log(`reported ${name.id}`);
    } else {
      // Expired, or lost with the control plane's data: from the beginning.
      const { unknown } = await leases.heartbeat({ registry, instances: [name] });
      if (unknown.length > 0) {
        isReported = false;
        continue;
      }
    }
  } catch (error) {
    // Traffic goes on without the control plane; it will hear of us when it is back.
    console.error(String(error));
    waitMs = 1_000;
  }
  await sleep(waitMs, undefined, { signal: stop.signal }).catch(() => undefined);
}
// Gone at once, rather than when the lease ends.
await leases.leave({ registry, instances: [name] });
