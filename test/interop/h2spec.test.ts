/** h2spec against the native data path: what fails is known, one by one, with its reason; so is that it still fails. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../support/data-path.ts";
import { temporaryDir } from "../support/gateway.ts";
import { h2spec } from "../support/tools.ts";

/** nghttp2 drops frames of streams that are closed rather than answer them; it keeps no list of closed streams to tell them apart by. */
const CLOSED_STREAM = "nghttp2 ignores frames on closed streams";
const DEPRIORITISED = "RFC 9113 deprecates PRIORITY, and nghttp2 ignores what is in it";

const known: Readonly<Record<string, string>> = {
  "http2/3.5 Sends invalid connection preface":
    "the listener takes HTTP/1 as well, and answers what is neither by HTTP/1's 400",
  "http2/5.1 closed: Sends a DATA frame after sending RST_STREAM frame": CLOSED_STREAM,
  "http2/5.1 closed: Sends a HEADERS frame after sending RST_STREAM frame": CLOSED_STREAM,
  "http2/5.1 closed: Sends a DATA frame": CLOSED_STREAM,
  "http2/5.1 closed: Sends a HEADERS frame": CLOSED_STREAM,
  "http2/5.1.1 Sends stream identifier that is numerically smaller than previous": CLOSED_STREAM,
  "http2/5.3.1 Sends PRIORITY frame that depend on itself": DEPRIORITISED,
  "http2/6.3 Sends a PRIORITY frame with 0x0 stream identifier": DEPRIORITISED,
  "http2/6.7 Sends a PING frame with ACK":
    "node:http2 ends the connection of a peer that answers a PING that was not sent",
  "http2/6.9.1 Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream":
    "nghttp2 ends the connection rather than the stream, which RFC 9113, 5.4.2 allows",
};

test("nothing fails beyond what is known", { timeout: 240_000 }, async () => {
  await using origin = await TestServer.http((request, response) => {
    request.resume().on("end", () => response.end("hello"));
  });
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
  const program = await h2spec();
  const dir = await temporaryDir();
  try {
    const report = join(dir.path, "report.xml");
    // It exits with 1 when something fails.
    await new Promise<void>((resolve) => {
      execFile(program, ["-h", "127.0.0.1", "-p", String(path.port), "-o", "2", "-j", report], () => resolve());
    });
    const cases = [
      ...(await readFile(report, "latin1")).matchAll(
        /<testcase package="([^"]+)" classname="([^"]+)"[^>]*>(\s*<(?:error|failure))?/g,
      ),
    ];
    expect(cases.length).toBe(145);
    const failed = cases.filter(([, , , failure]) => failure !== undefined).map(([, part, name]) => `${part} ${name}`);
    expect(failed.toSorted()).toEqual(Object.keys(known).toSorted());
  } finally {
    await dir.remove();
  }
});
