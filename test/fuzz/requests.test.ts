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
import { fuzzExceptions } from "./exceptions.ts";
import { LlhttpReader } from "./llhttp.ts";
import { readByOurs } from "./ours.ts";
import { kept } from "./seeds.ts";

const CASES = Number(process.env["SLUICE_FUZZ_CASES"] ?? 4_000);
const SEED = Number(process.env["SLUICE_FUZZ_SEED"] ?? 20261121);
/** Cases that are generated in one go. */
const BATCH = 10_000;
/** A million cases take a quarter of an hour. */
const TIMEOUT_MS = 3_600_000;
const FINDINGS_MAX = 20;

const llhttp = new LlhttpReader();

function piecesOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

/** Cases of which ours accepted something. */
let accepted = 0;

/** What is wrong with how some bytes are read; "" if nothing. */
async function examine(text: string, cuts: readonly number[], acceptHttp10: boolean): Promise<string> {
  const bytes = Buffer.from(text.replaceAll("§", "t0000001t"), "latin1");
  const ours = readByOurs([bytes], acceptHttp10);
  const cut = readByOurs(piecesOf(bytes, cuts), acceptHttp10);
  if (JSON.stringify(cut) !== JSON.stringify(ours)) {
    return `cut at ${cuts.join()} ${JSON.stringify(text)}\n    ${JSON.stringify(ours)}\n    ${JSON.stringify(cut)}\n`;
  }
  if (ours.requests.length === 0) return "";
  accepted++;
  const differs = difference(ours, await llhttp.read(bytes));
  if (differs === undefined) return "";
  const known = fuzzExceptions.some((exception) => exception.difference.test(differs) && exception.applies.test(text));
  return known ? "" : `${JSON.stringify(text.slice(0, 600))}\n    ${differs}\n`;
}

const everyByte = (text: string): number[] => Array.from({ length: text.length }, (_, at) => at);

test.each(Object.entries(payloads))("payload: %s", async (_, bytes) => {
  expect(await examine(bytes, everyByte(bytes).slice(0, 2_000), false)).toBe("");
});

test.each(kept.map((bytes) => [bytes]))("kept: %j", async (bytes) => {
  expect(await examine(bytes, everyByte(bytes), true)).toBe("");
});

test(`${CASES} generated cases`, { timeout: TIMEOUT_MS }, async () => {
  const findings: string[] = [];
  accepted = 0;
  for (let done = 0; done < CASES && findings.length < FINDINGS_MAX; done += BATCH) {
    const cases: RawRequest[] = fc.sample(mutated, { seed: SEED + done, numRuns: Math.min(BATCH, CASES - done) });
    for (const { bytes, cuts } of cases) {
      const acceptHttp10 = cuts.length % 2 === 1;
      const finding = await examine(bytes, cuts, acceptHttp10);
      if (finding !== "") findings.push(finding);
    }
  }
  expect(findings.slice(0, FINDINGS_MAX).join("")).toBe("");
  // A generator of nothing but garbage would find no difference either.
  expect(accepted).toBeGreaterThan(CASES / 3);
});
