/** The rate limit service (RLS): limits of the model, asked for as a data plane does. */
import { createHash } from "node:crypto";

import { ConnectError } from "@connectrpc/connect";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import {
  RateLimitResponse_Code as Code,
  type RateLimitRequestSchema,
  RateLimitService,
} from "#envoy/service/ratelimit/v3/rls_pb.ts";
import { ProblemsSchema } from "#sluice/admin/v1/common_pb.ts";
import { RateLimitUnit } from "#sluice/model/v1/rate_limit_pb.ts";

import { callUnary } from "../support/port-client.ts";
import { waitFor } from "../support/wait.ts";
import { type Running, startRunning } from "./running.ts";

const { shouldRateLimit } = RateLimitService.method;
const listeners = (port: number) => [{ name: "http", port }];
const perYear = (requestsPerUnit: number) => ({ requestsPerUnit, unit: RateLimitUnit.YEAR });

let running: Running;
beforeAll(async () => {
  running = await startRunning();
  const joinTokens = [{ name: "t", sha256: createHash("sha256").update("guarded-token").digest("hex") }];
  await running.gateways.apply({
    gateway: {
      gatewayGroups: [
        {
          name: "default",
          listeners: listeners(19_201),
          rateLimits: [
            {
              domain: "edge",
              descriptors: [
                { key: "address", rateLimit: perYear(2) },
                { key: "quiet", rateLimit: perYear(0), shadowMode: true },
              ],
            },
          ],
        },
        {
          name: "guarded",
          listeners: listeners(19_202),
          joinTokens,
          rateLimits: [{ domain: "secret", descriptors: [{ key: "a", rateLimit: perYear(1) }] }],
        },
      ],
    },
  });
});
afterAll(() => running[Symbol.asyncDispose]());

const ask = (request: MessageInitShape<typeof RateLimitRequestSchema>, metadata: Record<string, string> = {}) =>
  callUnary(running.plane.xdsAddress, shouldRateLimit, request, { metadata });

const descriptor = (key: string, value: string) => ({ entries: [{ key, value }] });

test("L4 OK up to the limit, then OVER_LIMIT, with what is left and until when", async () => {
  const descriptors = [descriptor("address", "192.0.2.1"), descriptor("nobody", "x")];
  const first = await ask({ domain: "edge", descriptors });
  expect(first.overallCode).toBe(Code.OK);
  expect(first.statuses).toMatchObject([
    { code: Code.OK, limitRemaining: 1, currentLimit: { requestsPerUnit: 2, unit: RateLimitUnit.YEAR } },
    { code: Code.OK, limitRemaining: 0 },
  ]);
  expect(first.statuses[1]?.currentLimit).toBeUndefined();
  expect(first.statuses[0]?.durationUntilReset?.seconds).toBeGreaterThan(0n);
  const headers = Object.fromEntries(first.responseHeadersToAdd.map(({ key, value }) => [key, value]));
  expect(headers).toMatchObject({ "ratelimit-limit": "2", "ratelimit-remaining": "1" });
  expect(Number(headers["ratelimit-reset"])).toBeGreaterThan(0);
  const second = await ask({ domain: "edge", descriptors, hitsAddend: 2 });
  expect([second.overallCode, second.statuses.map(({ code }) => code)]).toEqual([
    Code.OVER_LIMIT,
    [Code.OVER_LIMIT, Code.OK],
  ]);
});

test("L4 shadow mode refuses nothing; an unknown domain has no limits", async () => {
  for (const domain of ["edge", "unknown"]) {
    const { overallCode, statuses } = await ask({ domain, descriptors: [descriptor("quiet", "x")] });
    expect([overallCode, statuses.map(({ code }) => code)]).toEqual([Code.OK, [Code.OK]]);
  }
});

test("L4 a changed limit holds at once for what was counted before", async () => {
  const request = { domain: "changing", descriptors: [descriptor("k", "v")] };
  const apply = (requestsPerUnit: number) =>
    running.gateways.apply({
      gateway: {
        gatewayGroups: [
          {
            name: "third",
            listeners: listeners(19_203),
            rateLimits: [{ domain: "changing", descriptors: [{ key: "k", rateLimit: perYear(requestsPerUnit) }] }],
          },
        ],
      },
    });
  await apply(1);
  await waitFor("the limit", async () => (await ask(request)).overallCode === Code.OVER_LIMIT);
  await apply(1_000_000);
  await waitFor("the new limit", async () => (await ask(request)).overallCode === Code.OK);
});

test("L4 a domain answers those alone that may join its gateway group", async () => {
  const request = { domain: "secret", descriptors: [descriptor("a", "b")] };
  await expect(ask(request)).rejects.toThrow("UNAUTHENTICATED");
  await expect(ask(request, { authorization: "Bearer wrong" })).rejects.toThrow("PERMISSION_DENIED");
  // Whose domain it is, it doesn't say.
  for (const authorization of ["", "Bearer wrong"])
    await expect(ask(request, { authorization })).rejects.not.toThrow("guarded");
  expect((await ask(request, { authorization: "Bearer guarded-token" })).overallCode).toBe(Code.OK);
});

test.each([
  ["domain is empty", { descriptors: [descriptor("a", "b")] }],
  ["descriptors: there are none", { domain: "edge" }],
  ["descriptors[0].entries: there are none", { domain: "edge", descriptors: [{}] }],
  [
    "descriptors: more than 100",
    { domain: "edge", descriptors: Array.from({ length: 101 }, () => descriptor("address", "x")) },
  ],
])("L4 %s", async (problem, request) => {
  await expect(ask(request)).rejects.toThrow(`INVALID_ARGUMENT: ${problem}`);
});

test("a gateway with limits that cannot be told apart, or that limit nothing, is refused", async () => {
  const bad = running.gateways.apply({
    gateway: {
      gatewayGroups: [
        {
          name: "default",
          listeners: listeners(19_201),
          rateLimits: [
            { domain: "edge", descriptors: [{ key: "a" }, { key: "b", rateLimit: { requestsPerUnit: 1 } }] },
            {
              domain: "edge",
              descriptors: [
                { key: "a", rateLimit: perYear(1) },
                { key: "a", rateLimit: perYear(2) },
              ],
            },
            {
              domain: "secret",
              descriptors: [{ key: "a", shadowMode: true, descriptors: [{ key: "c", rateLimit: perYear(1) }] }],
            },
          ],
        },
      ],
    },
  });
  const problems = await bad.then(
    () => [],
    (error: unknown) => ConnectError.from(error).findDetails(ProblemsSchema),
  );
  const fields = problems
    .flatMap((each) => each.problems)
    .map(({ field }) => field.replace(/^gatewayGroups\[0\]\./, ""));
  expect(fields).toEqual([
    "rateLimits[0].descriptors[0]",
    "rateLimits[0].descriptors[1].rateLimit.unit",
    "rateLimits[1].domain",
    "rateLimits[1].descriptors[1]",
    "rateLimits[2].domain",
    "rateLimits[2].descriptors[0].shadowMode",
  ]);
});
