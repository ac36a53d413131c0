/** `sluice loads` and `sluice status NODE --client`: what data planes report, as operators see it. */
import { expect, test } from "vitest";

import { LoadReportingService } from "#envoy/service/load_stats/v3/lrs_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import { testToken } from "../support/control-plane.ts";
import { PortStream } from "../support/port-client.ts";
import { aService, startRolloutRig } from "../support/rollout-rig.ts";
import { waitFor } from "../support/wait.ts";
import { sluice } from "./cli-harness.ts";

test("loads shows what data planes report, of all services or one; status --client what a data plane wants, and of what content", async () => {
  await using rig = await startRolloutRig();
  const run = (...args: string[]) => sluice(args, { SLUICE_SERVER: rig.plane.url, SLUICE_TOKEN: testToken });
  expect((await run("loads")).stdout).toContain("No data plane reports load");
  await rig.apply({ services: [aService("pay"), aService("orders")] });
  const lrs = new PortStream(rig.plane.xdsAddress, LoadReportingService.method.streamLoadStats);
  const clusterStats = ["pay/default", "orders/default"].map((clusterName, at) => ({
    clusterName,
    loadReportInterval: { seconds: 2n },
    upstreamLocalityStats: [
      {
        locality: { region: "eu", zone: "a" },
        totalIssuedRequests: 20n,
        totalSuccessfulRequests: 17n,
        totalErrorRequests: BigInt(at),
        totalRequestsInProgress: 3n,
      },
    ],
  }));
  lrs.send({ node: { id: "px", cluster: "default" } });
  lrs.send({ clusterStats });
  const line = (service: string, failed: number) =>
    new RegExp(`^default +${service}/default +eu/a +10\\.0 +3 +17 +${failed} +0 +\\d+s ago$`, "m");
  await waitFor("both", async () => line("pay", 0).test((await run("loads")).stdout));
  const one = (await run("loads", "orders")).stdout;
  expect(one).toMatch(line("orders", 1));
  expect(one).not.toContain("pay/default");
  const { loads } = JSON.parse((await run("loads", "-o", "json")).stdout) as { loads: { cluster: string }[] };
  expect(loads.map(({ cluster }) => cluster)).toEqual(["orders/default", "pay/default"]);
  lrs.close();

  const px = await rig.dataPlane("px");
  px.send({ typeUrl: resourceType("SDS").typeUrl, resourceNamesSubscribe: ["nothing"] });
  await px.until(() => px.responses.some(({ removedResources }) => removedResources[0] === "nothing"));
  const shown = (await run("status", "px", "--client")).stdout;
  expect(shown).toMatch(/^CDS +pay\/default +[0-9a-f]{16} +SYNCED +\d+s ago$/m);
  expect(shown).toMatch(/^SDS +nothing +- +DOESN'T EXIST +-$/m);
  expect((await run("status", "px", "--client", "--type", "lds")).stdout).not.toContain("CDS");
  const text = (await run("status", "px", "--client", "-o", "json")).stdout;
  const { clients } = JSON.parse(text) as { clients: { genericXdsConfigs: { xdsConfig?: { name: string } }[] }[] };
  expect(clients[0]?.genericXdsConfigs.map(({ xdsConfig }) => xdsConfig?.name)).toContain("pay/default");
  expect(await run("status", "nobody", "--client")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("no data plane nobody is connected"),
  });
});
