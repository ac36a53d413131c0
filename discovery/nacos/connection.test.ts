import { expect, test, vi } from "vitest";

import { ScriptedNacos } from "../../test/support/scripted-nacos.ts";
import { NacosConnection } from "./connection.ts";

test("a connection that is given up while it is being made asks nothing more, and lets the program end", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  try {
    await using nacos = await ScriptedNacos.start();
    let requests = 0;
    for (let turns = 0; turns < 20; turns++) {
      const stop = new AbortController();
      const stopIn = (more: number) => (more === 0 ? stop.abort(new Error("stop")) : setImmediate(stopIn, more - 1));
      let asked = 0;
      const opening = NacosConnection.open(
        {
          ...{ server: { http: "", grpc: `127.0.0.1:${nacos.port}`, secure: false }, tls: {}, namespace: "" },
          headers: async () => {
            requests++;
            // The second request asks whether we are registered.
            if (++asked === 2) stopIn(turns);
            return {};
          },
          pushed: () => {},
          patienceMs: 60_000,
        },
        stop.signal,
      );
      await opening.then(
        (connection) => connection.close(),
        () => {},
      );
    }
    // Until the last answers that are under way have come.
    for (let turn = 0; turn < 1_000; turn++) await new Promise(setImmediate);
    const before = requests;
    vi.advanceTimersByTime(60_000);
    expect(requests).toBe(before);
  } finally {
    vi.useRealTimers();
  }
});
