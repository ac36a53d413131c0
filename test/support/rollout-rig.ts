/** A control plane with data planes that answer as they are told, for tests of rollouts. */
import { createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { MessageInitShape } from "@bufbuild/protobuf";

import { GatewayService } from "#sluice/admin/v1/gateway_service_pb.ts";
import { type Rollout, RolloutService, RolloutState } from "#sluice/admin/v1/rollout_service_pb.ts";
import { StatusService } from "#sluice/admin/v1/status_service_pb.ts";
import { LeaseService } from "#sluice/discovery/v1/lease_service_pb.ts";
import type { GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import type { ControlPlaneOptions } from "../../control-plane/main.ts";
import { authorized, startControlPlane } from "./control-plane.ts";
import { waitFor } from "./wait.ts";
import { type Answer, RecordingDelta } from "./xds-client.ts";

/** How a data plane answers a response, by the type's short name. */
export type Answers = (type: string) => Answer;

const types = ["CDS", "EDS", "LDS", "RDS"] as const;

/** A service with one upstream and one route, on a host of its own. */
export const aService = (name: string, path = "/", upstreamPort = 80) => ({
  name,
  hosts: [`${name}.example`],
  upstreams: [{ name: "default", nodes: [{ host: "127.0.0.1", port: upstreamPort }] }],
  routes: [{ name: "all", paths: [path] }],
});

export type RolloutRig = Awaited<ReturnType<typeof startRolloutRig>>;

/** Starts a control plane in this process. `await using` it. */
export async function startRolloutRig(options: Partial<ControlPlaneOptions> = {}) {
  const plane = await startControlPlane(options);
  const interceptors: Interceptor[] = [authorized()];
  const transport = createGrpcTransport({ baseUrl: plane.url, interceptors });
  const [gateways, rollouts, status] = [
    createClient(GatewayService, transport),
    createClient(RolloutService, transport),
    createClient(StatusService, transport),
  ];
  const leases = createClient(LeaseService, transport);
  const streams = new Set<RecordingDelta>();
  let newest = 0n;
  return {
    plane,
    gateways,
    rollouts,
    status,
    /** Writes objects; the revision. */
    async apply(gateway: MessageInitShape<typeof GatewaySchema>): Promise<bigint> {
      newest = (await gateways.apply({ gateway })).revision;
      return newest;
    },
    /** Reports the one instance of a service to a registry of the kind `leases`. */
    async report(registry: string, service: string, port: number): Promise<void> {
      const name = { service: { service }, id: "one" };
      await leases.report({ registry, instances: [{ name, endpoint: { address: "127.0.0.1", port } }] });
    },
    /** Connects a data plane that wants everything, and waits until it has all. It accepts what `answers` says nothing of. */
    async dataPlane(id: string, answers: Answers = () => "ack", group = "default"): Promise<RecordingDelta> {
      // Or what it has at first would be what was there before.
      if (newest > 0n) await this.rolloutIs(newest, ({ state }) => state !== RolloutState.PENDING);
      const stream = new RecordingDelta(plane.xdsAddress, {
        node: { id, cluster: group },
        answer: ({ typeUrl }) => answers(types.find((name) => resourceType(name).typeUrl === typeUrl) ?? ""),
      });
      streams.add(stream);
      for (const name of types) {
        const resourceNamesSubscribe = name === "RDS" ? ["default"] : ["*"];
        stream.send({ typeUrl: resourceType(name).typeUrl, resourceNamesSubscribe });
      }
      await waitFor(`${id} to have everything`, () => stream.responses.length >= types.length, 60_000);
      return stream;
    },
    /** The rollout of a revision, once it is as wished for. */
    rolloutIs: (revision: bigint, condition: (rollout: Rollout) => boolean): Promise<Rollout> =>
      waitFor(
        `revision ${revision}`,
        async () => {
          const { rollout } = await rollouts.getRollout({ revision });
          if (rollout !== undefined && condition(rollout)) return rollout;
          throw new Error(JSON.stringify(rollout, (_, value) => (typeof value === "bigint" ? String(value) : value)));
        },
        60_000,
      ),
    async [Symbol.asyncDispose]() {
      for (const stream of streams) stream.close();
      await plane.close();
    },
  };
}
