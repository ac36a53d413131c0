/** Where each of the 22 points of the security checklist is tested; its number is in the titles of its tests, as in "sec 3 duplicate host". */
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..");

/** The files whose tests hold a point, or why none has to, and the files that would change that. */
type Evidence = { readonly tests: readonly string[] } | { readonly nothingToTest: string; readonly until: string };

const http1 = "proxy/http1/security.test.ts";
const payloads = "proxy/http1/payloads.test.ts";
const http2 = "proxy/http2/security.test.ts";
const upstream = "proxy/upstream/forward.test.ts";
const abuse = "test/interop/proxy-abuse.test.ts";

const points: Readonly<Record<number, readonly [point: string, evidence: Evidence]>> = {
  1: ["smuggling", { tests: [http1, payloads] }],
  2: ["transfer-encoding", { tests: [http1, payloads] }],
  3: ["host", { tests: [http1, payloads] }],
  4: ["HTTP/2 and downgrades", { tests: [http2] }],
  5: ["hop-by-hop fields", { tests: [http1, payloads] }],
  6: ["upgrades", { tests: [http1, payloads, "proxy/upstream/upgrade.test.ts", "proxy/upstream/websocket.test.ts"] }],
  7: ["CONNECT", { tests: [http1] }],
  8: ["responses", { tests: [upstream] }],
  9: ["trailers", { tests: [http1, payloads] }],
  10: ["limits and abuse", { tests: [http1, http2, abuse] }],
  11: ["path confusion", { tests: [http1, payloads] }],
  12: ["underscores in names", { tests: [http1, payloads] }],
  13: ["what clients say of themselves", { tests: [http1] }],
  14: ["0-RTT", { nothingToTest: "node:tls accepts no early data", until: "proxy/listen/*early*.ts" }],
  15: ["decompression bombs", { nothingToTest: "nothing decompresses", until: "proxy/filters/*compress*.ts" }],
  16: ["TLS", { tests: ["proxy/listen/tls.test.ts"] }],
  17: [
    "gRPC message sizes",
    { nothingToTest: "messages are streamed; none is kept whole", until: "proxy/filters/*transcod*.ts" },
  ],
  18: ["admin ports", { tests: ["proxy/main.test.ts"] }],
  19: ["regular expressions", { tests: ["proxy/route/regex.test.ts"] }],
  20: ["log injection", { tests: ["proxy/observe/format.test.ts"] }],
  21: ["cache keys", { nothingToTest: "nothing is cached", until: "proxy/filters/*cache*.ts" }],
  22: ["retries", { tests: [upstream] }],
};

test("the table has every point", () => {
  expect(Object.keys(points).map(Number)).toEqual(Array.from({ length: 22 }, (_, i) => i + 1));
});

/** Whether a test's title begins with the point's number. */
const isTested = (point: string, file: string): boolean =>
  new RegExp(`["\`]sec ${point} `).test(readFileSync(join(root, file), "utf8"));

test.each(Object.entries(points))("point %s is tested where the table says", (point, [, evidence]) => {
  if ("tests" in evidence) {
    for (const file of evidence.tests) {
      expect(existsSync(join(root, file)), file).toBe(true);
      expect(isTested(point, file), `${file} has a test of point ${point}`).toBe(true);
    }
    return;
  }
  // As soon as there is something to test, somebody has to, and to say where.
  const files = globSync(evidence.until, { cwd: root });
  expect(files, `nothing to test of point ${point}, because ${evidence.nothingToTest}`).toEqual([]);
});
