/** Upstreams that close early, answer garbage, too much or never: their clients get an error or a cut, and nobody else notices. */
import net from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { hostileNames } from "../support/hostile-origin.ts";
import { ask } from "../support/http.ts";
import { type ProxyRig, startProxyRig } from "../support/proxy-rig.ts";
import { parseResponses } from "../support/raw-probe.ts";
import type { SteadyLoad } from "../support/steady-clients.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { waitFor } from "../support/wait.ts";

let rig: ProxyRig;
let bystanders: SteadyLoad;

beforeAll(async () => {
  rig = await startProxyRig();
  bystanders = startSteadyLoad(rig.port, 2);
});

afterAll(async () => {
  await bystanders?.stop();
  await rig?.stop();
});

/** What the client of a hostile upstream gets; others are 502: not HTTP as we take it. */
const expected: Record<string, string> = {
  reset: "503",
  end: "503",
  "early-end": "200, cut",
  "early-reset": "200, cut",
  "early-chunked": "200, cut",
  "no-last-chunk": "200, cut",
  "bad-chunk": "200, cut",
  "two-responses": "200 one",
  leftover: "200 one",
  stall: "200, waiting",
  silence: "waiting",
};

/** So long nothing more must come to be called waiting, where that is meant to be. */
const QUIET_MS = 500;
const QUIET_MS_MAX = 60_000;

/** Asks on a connection of its own; gives the status, and whether the response came to its end. */
function fate(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(rig.port, "127.0.0.1", () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: bad.test\r\n\r\n`),
    );
    let got = "";
    const finish = (end: string) => {
      socket.destroy();
      const status = /^HTTP\/1\.1 (\d+)/.exec(got)?.[1];
      const last = parseResponses(got, false).responses.at(-1);
      if (last === undefined) resolve(status === undefined ? end : `${status}, ${end}`);
      else resolve(last.status === 200 ? `200 ${last.body}` : String(last.status));
    };
    // One says nothing, ever; for the others, and for what comes first of one that stalls, the time is a bound that a busy machine doesn't meet.
    let quiet = setTimeout(() => finish("waiting"), path === "/silence" ? QUIET_MS : QUIET_MS_MAX);
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      got += text;
      if (path === "/stall" && got.includes("\r\n\r\n")) {
        clearTimeout(quiet);
        quiet = setTimeout(() => finish("waiting"), QUIET_MS);
      }
      const { responses, garbage } = parseResponses(got, false);
      const last = responses.at(-1);
      if (garbage === "" && last !== undefined && last.status >= 200) finish("complete");
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(quiet);
      finish("cut");
    });
  });
}

test.each(hostileNames)("%s", async (name) => {
  // Several, so that a connection left in a bad state would meet its next request.
  for (let i = 0; i < 3; i++) expect(await fate(`/${name}`)).toBe(expected[name] ?? "502");
  expect(await fate("/plain")).toBe("200 ok");
});

test("many at once, in any order", async () => {
  const names = hostileNames.filter((name) => name !== "stall" && name !== "silence");
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const name = names[(i * 7) % names.length] as string;
      return [name, await fate(`/${name}`)] as const;
    }),
  );
  for (const [name, answer] of answers) expect([name, answer]).toEqual([name, expected[name] ?? "502"]);
});

test("nobody else noticed, and nothing is left over", async () => {
  await bystanders.stop();
  expect(bystanders.failures).toEqual([]);
  expect(bystanders.answered).toBeGreaterThan(0);
  expect(await rig.stat("server.worker_crashes")).toBe(0);
  expect((await ask(rig.port, { headers: { host: "a.test" } })).status).toBe(200);
  // Only idle connections to the origin may be left, and few.
  await waitFor("the connections to the hostile origin to go", () => {
    const open = rig.hostile.open();
    if (open.length > 4) throw new Error(`open: ${open.join(" ")}`);
    return true;
  });
});
