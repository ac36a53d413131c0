/** What request_timeout of a listener is for: requests that don't come to their end, and not what goes on behind an answer. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { pause, until } from "../../test/support/wait.ts";
import { Http2Client } from "../../test/support/http2-client.ts";

test("a conversation goes on beyond the time that the listener gives requests, once its answer has begun", async () => {
  await using origin = await TestServer.http((request, response) => {
    request.on("error", () => {});
    response.flushHeaders();
    request.pipe(response);
  });
  // Where the answer begins too late for it, the machine is slow.
  for (let requestTimeoutMs = 1_000; ; requestTimeoutMs *= 4) {
    await using path = await DataPath.start({
      cluster: clusterOf([endpointAt(origin.port)]),
      http: { requestTimeoutMs },
    });
    await using client = new Http2Client(path.port);
    const stream = client.session.request({ ":method": "POST", ":path": "/" }, { endStream: false });
    let status = 0;
    let body = "";
    stream
      .on("response", (headers) => (status = Number(headers[":status"])))
      .on("data", (piece: Buffer) => (body += piece.toString("latin1")))
      .on("error", () => {});
    stream.write("a");
    await until(() => (status === 200 && body === "a") || status === 408);
    if (status === 408) continue;
    await pause(1.5 * requestTimeoutMs);
    stream.end("b");
    await until(() => stream.destroyed);
    expect(body).toBe("ab");
    return;
  }
});
