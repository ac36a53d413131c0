import { createServer } from "node:tls";

import { expect, test } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { waitFor } from "../../test/support/wait.ts";
import { connect } from "./transport.ts";

/** An empty SETTINGS frame (RFC 9113, 6.5). */
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

test("a server that answers no PING is given up, and no further one is tried", async () => {
  using authority = new TestAuthority();
  const { cert, key } = authority.issue({ name: "localhost", altNames: ["IP:127.0.0.1"] });
  const server = createServer({ cert, key, ALPNProtocols: ["h2"] }, (socket) => {
    socket.on("error", () => {}).resume();
    socket.write(SETTINGS);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("it listens on a port");
  try {
    const access = {
      server: new URL(`https://127.0.0.1:${address.port}`),
      ca: authority.cert,
      insecureSkipTlsVerify: false,
      credentials: { get: () => Promise.resolve({}), refused: () => {} },
      namespace: "default",
    };
    // The next PING falls due just when the one before is given up.
    const times = { connectTimeoutMs: 60_000, pingIntervalMs: 20, pingTimeoutMs: 20 };
    const giveUp = async () => {
      const transport = await connect(access, {}, times);
      await expect(transport.get("/", {}, AbortSignal.timeout(60_000))).rejects.toThrow("HTTP/2 PING");
      await waitFor("the end", () => !transport.usable);
    };
    await Promise.all(Array.from({ length: 20 }, giveUp));
  } finally {
    server.close();
  }
});
