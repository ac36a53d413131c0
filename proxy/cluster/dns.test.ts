/** Names of DNS clusters: which addresses, and what happens when there is no answer. */
import { afterEach, expect, test } from "vitest";

import type { Assignment } from "./assignment.ts";
import type { DnsOptions } from "./compile.ts";
import { NO_LABELS } from "./endpoint-metadata.ts";
import { DnsWatch } from "./dns.ts";
import { collectWarnings } from "../../test/support/warnings.ts";

const assignmentOf = (...names: string[]): Assignment => ({
  overprovisioningFactor: 140,
  localities: [
    {
      priority: 0,
      weight: 0,
      labels: NO_LABELS,
      endpoints: names.map((address) => ({
        address,
        port: 80,
        additionalAddresses: [],
        labels: NO_LABELS,
        hashKey: "",
        canary: false,
        hostname: "",
        weight: 1,
        health: "healthy",
      })),
    },
  ],
});

const options: DnsOptions = { refreshMs: 60_000, respectTtl: false, family: "v4-preferred", firstOnly: false };

const watches: DnsWatch[] = [];
afterEach(() => {
  for (const watch of watches.splice(0)) watch.stop();
});

/** Watches names; every assignment's addresses are in the list. */
function watch(names: string[], more: Partial<DnsOptions> = {}) {
  const seen: string[][] = [];
  const started = new DnsWatch(assignmentOf(...names), { ...options, ...more }, ({ localities }) => {
    seen.push(localities.flatMap(({ endpoints }) => endpoints.map(({ address }) => address)));
  });
  watches.push(started);
  return { seen, started };
}

test("a name that is not there leaves the others as they are, and nothing is assigned before both are known", async () => {
  // RFC 6761: names under .invalid never exist.
  const { seen, started } = watch(["localhost", "nobody.invalid"]);
  expect(seen).toEqual([]);
  await started.answered;
  expect(seen).toEqual([["127.0.0.1"]]);
});

test("addresses need no answer", () => {
  expect(watch(["10.0.0.1"]).seen).toEqual([["10.0.0.1"]]);
});

test("the same answer again assigns nothing", async () => {
  const { seen, started } = watch(["localhost"], { refreshMs: 2 });
  await started.answered;
  await expect.poll(() => started.answers).toBeGreaterThan(3);
  expect(seen).toEqual([["127.0.0.1"]]);
});

test("the family that is asked for", async () => {
  const { seen, started } = watch(["localhost"], { family: "v4-only", respectTtl: true });
  await started.answered;
  expect(seen).toEqual([["127.0.0.1"]]);
});

test("after stop() nothing is assigned, and nobody waits", async () => {
  const { seen, started } = watch(["localhost"]);
  started.stop();
  await started.answered;
  const other = watch(["localhost"]);
  await other.started.answered;
  expect(seen).toEqual([]);
});

test("a time beyond what timers know is a long one, and not none", async () => {
  const warnings = collectWarnings();
  // As long as a time to live may be (RFC 2181, 8).
  const { started } = watch(["localhost"], { refreshMs: (2 ** 31 - 1) * 1000 });
  await started.answered;
  // Told in another turn, and again with each further answer.
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  expect(warnings).toEqual([]);
});
