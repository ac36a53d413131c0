/** Filters at work on real requests. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";
import type { FilterFactory } from "./filter.ts";

const REQUEST = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";

async function run(filters: FilterFactory[]): Promise<string> {
  await using origin = await TestServer.http((request, response) => {
    let text = "";
    request
      .on("data", (piece) => (text += piece))
      .on("end", () => response.end(`[${String(request.headers["x-order"])} ${text}]`));
  });
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), http: { filters } });
  return await exchange(path.port, REQUEST);
}

const upper = (piece: Buffer) => Buffer.from(piece.toString("latin1").toUpperCase(), "latin1");

test("requests pass the filters in order, responses backwards", async () => {
  const named = (name: string): FilterFactory => ({
    name,
    create: () => ({
      onRequestHead(head) {
        head.headers.set("x-order", `${head.headers.get("x-order") ?? ""}${name}`);
        return "continue";
      },
      onResponseHead: (_status, headers) => headers.set("x-back", `${headers.get("x-back") ?? ""}${name}`),
    }),
  });
  const text = await run([named("a"), named("b")]);
  expect(text).toContain("[ab abc]");
  expect(text).toContain("x-back: ba\r\n");
});

test("filters change bodies, which are framed anew, and may wait", async () => {
  const destroyed: string[] = [];
  const text = await run([
    { name: "absent", create: () => undefined },
    {
      name: "waiting",
      create: (stream) => ({
        onRequestHead() {
          setTimeout(() => stream.continue(), 20);
          return "wait";
        },
        onDestroy: () => void destroyed.push("waiting"),
      }),
    },
    {
      name: "changing",
      create: () => ({
        onRequestHead(head) {
          head.headers.remove("content-length");
          return "continue";
        },
        onRequestData: upper,
        onRequestEnd: () => Buffer.from("!"),
        onResponseHead: (_status, headers) => headers.remove("content-length"),
        onResponseEnd: () => Buffer.from("."),
      }),
    },
  ]);
  expect(text).toContain("transfer-encoding: chunked\r\n");
  expect(text).toContain("[undefined ABC!]");
  expect(text).toMatch(/\r\n1\r\n\.\r\n0\r\n\r\n$/);
  expect(destroyed).toEqual(["waiting"]);
});

test("a filter may answer by itself", async () => {
  const reply = { status: 401, details: "refused", flag: "UAEX", body: "no" };
  const text = await run([
    {
      name: "refusing",
      create: (stream) => ({
        onRequestHead() {
          stream.reply(reply);
          return "wait";
        },
      }),
    },
  ]);
  expect(text).toMatch(/^HTTP\/1.1 401 Unauthorized\r\n[^]*no$/);
});

test("a body that came while a filter waited follows its head, on a kept connection, too", async () => {
  await using origin = await TestServer.http((request, response) => {
    let text = "";
    request.on("data", (piece) => (text += piece)).on("end", () => response.end(`[${text}]`));
  });
  const waiting: FilterFactory = {
    name: "waiting",
    create: (stream) => ({
      onRequestHead() {
        setTimeout(() => stream.continue(), 10);
        return "wait";
      },
    }),
  };
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(origin.port)]),
    http: { filters: [waiting] },
  });
  const kept = REQUEST.replace("Connection: close\r\n", "");
  expect((await exchange(path.port, kept + kept + REQUEST)).split("[abc]")).toHaveLength(4);
});
