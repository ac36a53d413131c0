/** The admin port's connections. */
import http2 from "node:http2";

import { afterEach, expect, test } from "vitest";

import { formatAddress } from "./address.ts";
import { type Handler, listenHttp } from "./listen.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

test("an HTTP/2 connection without a call is ended after a while, and one with a call isn't", async () => {
  const held = Promise.withResolvers<Parameters<Handler>[1]>();
  const port = await listenHttp(
    { host: "127.0.0.1", port: 0 },
    "--admin",
    undefined,
    (_, res) => held.resolve(res),
    1_000,
  );
  cleanups.push(() => port.close(0));
  const connect = () => {
    const session = http2.connect(`http://${formatAddress(port.address)}`);
    cleanups.push(() => session.destroy());
    return { session, closed: new Promise<string>((resolve) => session.once("close", () => resolve("closed"))) };
  };
  const calling = connect();
  const answer = calling.session.request({ ":path": "/" });
  const statusOf = new Promise((resolve) => answer.once("response", (headers) => resolve(headers[":status"])));
  const response = await held.promise;
  // Begins later, so its time is up after that of the one with the call.
  await connect().closed;
  expect(calling.session.closed).toBe(false);
  response.end();
  answer.resume();
  expect(await statusOf).toBe(200);
  await calling.closed;
});
