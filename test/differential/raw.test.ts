/**
 * The same raw bytes to the native proxy and to a real Envoy: what ours takes, Envoy reads in the same way; what ours refuses beyond Envoy,
 * or words differently, is named in raw-exceptions.ts.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { probe } from "../support/raw-probe.ts";
import { markOf, type RecordingOrigin, startRecordingOrigin } from "../support/recording-origin.ts";
import { compare, type Difference, type Reading, unsound } from "./raw-compare.ts";
import { exceptions } from "./raw-exceptions.ts";
import { mutated, type RawRequest } from "./raw-mutations.ts";
import { payloads } from "./raw-payloads.ts";

const REQUESTS = Number(process.env["SLUICE_RAW_REQUESTS"] ?? 2_000);
const SEED = Number(process.env["SLUICE_RAW_SEED"] ?? 20261121);
const CONCURRENT_PROBES = 24;
/** How long nothing must come before a data plane counts as waiting for more; the last and longest look decides. */
const QUIET_MS = [300, 2_000, 20_000, 120_000] as const;

const origins: RecordingOrigin[] = [];
let planes: DataPlanes;
let probes = 0;

beforeAll(async () => {
  const [ours, theirs] = [await startRecordingOrigin(), await startRecordingOrigin()];
  origins.push(ours, theirs);
  planes = await startDataPlanes(
    (group, port) => `
gatewayGroups:
  - name: ${group}
    listeners: [{ name: http, protocol: http, address: 127.0.0.1, port: ${port}, http2: false }]
services:
  - name: raw
    gatewayGroup: ${group}
    upstreams:
      - name: default
        nodes: [{ host: 127.0.0.1, port: ${(group === "default" ? ours : theirs).port} }]
        # None that a machine that stands still meets: a 504 hides what was the matter.
        timeouts: { request: 600s, connect: 60s }
    routes:
      - { name: switching, paths: [/ws/*], websocket: true }
      - { name: all, paths: [/*] }
`,
    "a.test",
  );
});

afterAll(async () => {
  await planes?.stop();
  for (const origin of origins) await origin.close();
});

/** Sends the bytes and then a plain request, and waits for what both data planes make of it. */
async function readings({ bytes, cuts }: RawRequest, quietMs: number): Promise<[Reading, Reading]> {
  const mark = markOf(++probes);
  const read = async (at: 0 | 1): Promise<Reading> => {
    const last = `/${mark}last`;
    const all = Buffer.from(`${bytes.replaceAll("§", mark)}GET ${last} HTTP/1.1\r\nHost: a.test\r\n\r\n`, "latin1");
    const ends = [...cuts.map((cut) => cut % all.length), all.length].toSorted((a, b) => a - b);
    const pieces = ends.map((end, i) => all.subarray(ends[i - 1] ?? 0, end)).filter(({ length }) => length > 0);
    const port = [planes.native, planes.envoy][at]?.port ?? 0;
    const begunMs = performance.now();
    const outcome = await probe(port, pieces, `ORIGIN GET ${last} `, quietMs);
    const neutral = (text: string) => text.replaceAll(mark, "§");
    return {
      ...outcome,
      responses: outcome.responses.map((response) => ({ ...response, body: neutral(response.body) })),
      seen: (origins[at] as RecordingOrigin).seen(mark).map((seen) => ({
        ...seen,
        ...{ path: neutral(seen.path), fields: seen.fields.map(neutral), atMs: Math.round(seen.atMs - begunMs) },
      })),
    };
  };
  return await Promise.all([read(0), read(1)]);
}

interface Finding {
  bytes: string;
  kind: Difference | "unsound";
  text: string;
}

async function examine(request: RawRequest): Promise<Finding[]> {
  let findings: Finding[] = [];
  for (const quietMs of QUIET_MS) {
    const [ours, theirs] = await readings(request, quietMs);
    const difference = compare(ours, theirs);
    const problems = ours.seen.flatMap(unsound);
    findings = [
      ...(difference === undefined ? [] : [{ bytes: request.bytes, ...difference }]),
      ...(problems.length === 0 ? [] : [{ bytes: request.bytes, kind: "unsound" as const, text: problems.join(", ") }]),
    ];
    if (findings.length === 0) break;
    if (findings.every(isKnown)) break;
  }
  return findings;
}

const isKnown = ({ kind, bytes }: Finding): boolean =>
  exceptions.some((exception) => exception.kind === kind && exception.applies.test(bytes));

const show = (findings: Finding[]): string =>
  findings.map(({ kind, bytes, text }) => `${kind}: ${JSON.stringify(bytes.slice(0, 500))}\n    ${text}`).join("\n");

describe("the native proxy and Envoy read alike", () => {
  test.each(Object.entries(payloads))("%s", async (_, bytes) => {
    const findings = await examine({ bytes, cuts: [] });
    expect(show(findings.filter((finding) => !isKnown(finding)))).toBe("");
  });

  test(`${REQUESTS} generated requests`, { timeout: 1_800_000 }, async () => {
    const requests = fc.sample(mutated, { seed: SEED, numRuns: REQUESTS });
    const unknown: Finding[] = [];
    const next = requests.values();
    await Promise.all(
      Array.from({ length: CONCURRENT_PROBES }, async () => {
        for (const request of next) unknown.push(...(await examine(request)).filter((finding) => !isKnown(finding)));
      }),
    );
    expect(`${unknown.length}\n${show(unknown.slice(0, 40))}`).toBe("0\n");
  });

  test("nothing malformed reached the origin", () => {
    expect(origins[0]?.malformed).toEqual([]);
  });
});
