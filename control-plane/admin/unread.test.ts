/** Requests that can't be decoded, as each protocol brings them: refused like all that is wrong, counted, and logged. */
import http2 from "node:http2";

import { fromBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, expect, test } from "vitest";

import { StatusSchema } from "#google/rpc/status_pb.ts";
import { ProblemsSchema } from "#sluice/admin/v1/common_pb.ts";

import { startControlPlane, type TestControlPlane, testToken } from "../../test/support/control-plane.ts";
import { waitFor } from "../../test/support/wait.ts";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startControlPlane();
});
afterEach(() => plane.close());

const authorization = `Bearer ${testToken}`;
const misspelt = '{"gatewai": {}}';

/** One message of a stream: no flags, its length, and its bytes (gRPC over HTTP/2, Length-Prefixed-Message). */
function envelope(text: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(text), 1);
  return Buffer.concat([head, Buffer.from(text)]);
}

const post = (method: string, contentType: string, body: string | Buffer) =>
  fetch(`${plane.url}/sluice.admin.v1.GatewayService/${method}`, {
    method: "POST",
    headers: { authorization, "content-type": contentType },
    body: typeof body === "string" ? body : new Uint8Array(body),
  });

const problem = { field: "", reason: "undecodable", message: expect.stringContaining('key "gatewai" is unknown') };

/** The problems in gRPC's grpc-status-details-bin. */
function detailsIn(base64: unknown) {
  const { details } = fromBinary(StatusSchema, base64Decode(String(base64)));
  return details.flatMap((detail) => anyUnpack(detail, ProblemsSchema)?.problems ?? []);
}

async function expectCounted(method: string): Promise<void> {
  const labels = `service="sluice.admin.v1.GatewayService",method="${method}",code="invalid_argument"`;
  // The call is over for its client before it is for the server.
  await waitFor("the call to be counted", async () =>
    (await (await fetch(`${plane.url}/metrics`)).text()).includes(`sluice_admin_requests_total{${labels}} 1\n`),
  );
}

test("Connect, one message", async () => {
  const answer = await post("Apply", "application/json", misspelt);
  expect(answer.status).toBe(400);
  expect(await answer.json()).toMatchObject({
    code: "invalid_argument",
    details: [{ type: "sluice.admin.v1.Problems", debug: { problems: [{ reason: "undecodable" }] } }],
  });
  await expectCounted("Apply");
});

test("Connect, a stream", async () => {
  const answer = await post("Watch", "application/connect+json", envelope(misspelt));
  const end: unknown = JSON.parse((await answer.text()).slice(5));
  expect(end).toMatchObject({ error: { code: "invalid_argument", details: [{ type: "sluice.admin.v1.Problems" }] } });
  await expectCounted("Watch");
});

test("gRPC-Web", async () => {
  const answer = await post("Apply", "application/grpc-web+json", envelope(misspelt));
  expect(detailsIn(/grpc-status-details-bin: (\S+)/.exec(await answer.text())?.[1])).toMatchObject([problem]);
  await expectCounted("Apply");
});

test("gRPC", async () => {
  const session = http2.connect(plane.url);
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/sluice.admin.v1.GatewayService/Apply",
      "content-type": "application/grpc+json",
      te: "trailers",
      authorization,
    });
    stream.end(envelope(misspelt));
    stream.resume();
    const trailers = await new Promise<http2.IncomingHttpHeaders>((resolve, reject) => {
      stream.once("trailers", resolve).once("error", reject);
    });
    expect(trailers["grpc-status"]).toBe("3");
    expect(detailsIn(trailers["grpc-status-details-bin"])).toMatchObject([problem]);
  } finally {
    session.close();
  }
  await expectCounted("Apply");
});
