/**
 * Differential fuzzing: the same bytes to our codec and to llhttp, in this process. Whatever ours accepts, llhttp reads the same way, or the
 * case is explained in exceptions.ts; and however the bytes are cut, ours reads them the same way. test/differential/raw.test.ts sends the
 * same kind of requests to Envoy.
 *
 * SLUICE_FUZZ_CASES=1000000 SLUICE_FUZZ_SEED=7 vitest run --config test/vitest.config.ts test/fuzz
 */
import fc from "fast-check";
import { expect, test } from "vitest";

import { mutated, type RawRequest } from "../differential/raw-mutations.ts";
import { payloads } from "../differential/raw-payloads.ts";
import { difference } from "./compare.ts";
import { fuzzExceptions, withoutExceptions } from "./exceptions.ts";
import { LlhttpReader } from "./llhttp.ts";
import { readByOurs } from "./ours.ts";
import { arrivalDifference, ThroughProxy } from "./through.ts";
import type { RequestReading } from "./reading.ts";
import { kept } from "./seeds.ts";

const CASES = Number(process.env["SLUICE_FUZZ_CASES"] ?? 4_000);
const SEED = Number(process.env["SLUICE_FUZZ_SEED"] ?? 20261121);
/** Cases that are generated in one go. */
const BATCH = 10_000;
/** A million cases take a quarter of an hour. */
const TIMEOUT_MS = 3_600_000;
const FINDINGS_MAX = 20;
/** Of so many cases one also goes through a whole connection. */
const THROUGH_EVERY = 50;

const llhttp = new LlhttpReader();

function piecesOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

/** Cases of which ours accepted something. */
let accepted = 0;

const bytesOf = (text: string): Buffer => Buffer.from(text.replaceAll("§", "t0000001t"), "latin1");

/** Whether the bytes are read alike once that is taken away which the exceptions are about, and ours makes the same of them with it. */
async function isKnown(text: string, ours: RequestReading, acceptHttp10: boolean): Promise<boolean> {
  const rewritten = withoutExceptions(text);
  if (rewritten === text) return false;
  const again = readByOurs([bytesOf(rewritten)], acceptHttp10);
  // Whether what follows the last request is refused is no matter of what was accepted.
  if (JSON.stringify(again.requests) !== JSON.stringify(ours.requests)) return false;
  return difference(again, await llhttp.read(bytesOf(rewritten))) === undefined;
}

/** What is wrong with how some bytes are read; "" if nothing. */
async function examine(text: string, cuts: readonly number[], acceptHttp10: boolean): Promise<string> {
  const bytes = bytesOf(text);
  const ours = readByOurs([bytes], acceptHttp10);
  const cut = readByOurs(piecesOf(bytes, cuts), acceptHttp10);
  if (JSON.stringify(cut) !== JSON.stringify(ours)) {
    return `cut at ${cuts.join()} ${JSON.stringify(text)}\n    ${JSON.stringify(ours)}\n    ${JSON.stringify(cut)}\n`;
  }
  if (ours.requests.length === 0) return "";
  accepted++;
  const differs = difference(ours, await llhttp.read(bytes));
  if (differs === undefined || (await isKnown(text, ours, acceptHttp10))) return "";
  return `${JSON.stringify(text.slice(0, 600))}\n    ${differs}\n`;
}

/** What is wrong with what a whole connection makes of some bytes, by what the codec read; "" if nothing. */
async function examineThrough(through: ThroughProxy, text: string, acceptHttp10: boolean): Promise<string> {
  const { arrived, statuses } = await through.read(bytesOf(text), acceptHttp10);
  const reading = readByOurs([bytesOf(text)], acceptHttp10);
  const differs = arrivalDifference(reading, arrived);
  if (differs === "" && statuses.filter((status) => status === 200).length === arrived.length) return "";
  return `${JSON.stringify(text.slice(0, 600))}\n    ${differs} ${statuses.join()}\n`;
}

const everyByte = (text: string): number[] => Array.from({ length: text.length }, (_, at) => at);

test.each(Object.entries(payloads))("payload: %s", async (_, bytes) => {
  expect(await examine(bytes, everyByte(bytes).slice(0, 2_000), false)).toBe("");
});

test.each(kept.map((bytes) => [bytes]))("kept: %j", async (bytes) => {
  expect(await examine(bytes, everyByte(bytes), true)).toBe("");
});

test.each(fuzzExceptions)("exception: $why", async ({ rewrite, example }) => {
  const read = async (text: string) => difference(readByOurs([bytesOf(text)], true), await llhttp.read(bytesOf(text)));
  expect(await read(example)).toBeDefined();
  expect(await read(rewrite(example))).toBeUndefined();
});

test(`${CASES} generated cases`, { timeout: TIMEOUT_MS }, async () => {
  await using through = await ThroughProxy.start();
  const findings: string[] = [];
  accepted = 0;
  for (let done = 0; done < CASES && findings.length < FINDINGS_MAX; done += BATCH) {
    const cases: RawRequest[] = fc.sample(mutated, { seed: SEED + done, numRuns: Math.min(BATCH, CASES - done) });
    for (const [i, { bytes, cuts }] of cases.entries()) {
      const acceptHttp10 = cuts.length % 2 === 1;
      const apart = await examine(bytes, cuts, acceptHttp10);
      const finding =
        apart === "" && i % THROUGH_EVERY === 0 ? await examineThrough(through, bytes, acceptHttp10) : apart;
      if (finding !== "") findings.push(finding);
    }
  }
  expect(findings.slice(0, FINDINGS_MAX).join("")).toBe("");
  // A generator of nothing but garbage would find no difference either.
  expect(accepted).toBeGreaterThan(CASES / 3);
});
