/** h2spec against the native data path: nothing fails. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../support/data-path.ts";
import { temporaryDir } from "../support/gateway.ts";
import { h2spec } from "../support/tools.ts";

test("all of h2spec passes", async () => {
  await using origin = await TestServer.http((request, response) => {
    request.resume().on("end", () => response.end("hello"));
  });
  // Where HTTP/1 is spoken as well, a preface that is none (http2/3.5) is answered by HTTP/1's 400, as a request that is none.
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(origin.port)]),
    http: { codec: "http2" },
  });
  const program = await h2spec();
  const dir = await temporaryDir();
  try {
    const report = join(dir.path, "report.xml");
    // It exits with 1 when something fails.
    await new Promise<void>((resolve) => {
      execFile(program, ["-h", "127.0.0.1", "-p", String(path.port), "-o", "30", "-j", report], () => resolve());
    });
    const cases = [
      ...(await readFile(report, "latin1")).matchAll(
        /<testcase package="([^"]+)" classname="([^"]+)"[^>]*>(\s*<(?:error|failure))?/g,
      ),
    ];
    expect(cases.length).toBe(145);
    const failed = cases.filter(([, , , failure]) => failure !== undefined).map(([, part, name]) => `${part} ${name}`);
    expect(failed).toEqual([]);
  } finally {
    await dir.remove();
  }
});
