import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

import fc from "fast-check";
import { expect, test } from "vitest";

import { type Framing, Outbox } from "./outbox.ts";

/** Sizes on both sides of each bound of the outbox, up to more than a chunk. */
const bytesOfPart = fc.oneof(
  fc.integer({ min: 0, max: 5 }),
  fc.constantFrom(2_047, 2_048, 8_191, 8_192, 16_383, 16_384, 16_385, 65_535, 65_536, 70_000),
);

const part = fc.oneof(
  bytesOfPart.map((length) => ({ kind: "head" as const, length })),
  fc.tuple(bytesOfPart, fc.boolean()).map(([length, owned]) => ({ kind: "data" as const, length, owned })),
  fc.constant({ kind: "flush" as const }),
  fc.constant({ kind: "turn" as const }),
);

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test.each<Framing>(["length", "chunked"])(
  "what is handed over arrives whole and in order, framing: %s",
  async (framing) => {
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 12 }), async (parts) => {
        const { socket, received, close } = await pair();
        const outbox = new Outbox(socket);
        outbox.framing = framing;
        let expected = "";
        let letter = 0;
        // Borrowed memory is overwritten once it was handed over.
        const borrowed = Buffer.alloc(70_000);
        for (const each of parts) {
          const text = "length" in each ? String.fromCharCode(0xe0 + (letter++ % 16)).repeat(each.length) : "";
          if (each.kind === "head") outbox.head(text);
          else if (each.kind === "data") {
            if (each.owned) outbox.data(Buffer.from(text, "latin1"), 0, text.length, true);
            else {
              borrowed.write(text, "latin1");
              outbox.data(borrowed, 0, text.length, false);
              borrowed.fill(0);
            }
          } else if (each.kind === "flush") outbox.flush();
          else await nextTurn();
          const chunked = framing === "chunked" && each.kind === "data" && text !== "";
          expected += chunked ? `${text.length.toString(16)}\r\n${text}\r\n` : text;
        }
        outbox.endSocket();
        const text = await received;
        close();
        // Not by toBe(): the difference of two megabytes takes minutes to print.
        expect(text === expected, `${text.length} bytes of ${expected.length}`).toBe(true);
      }),
      { numRuns: 60 },
    );
  },
);

async function pair(): Promise<{ socket: Socket; received: Promise<string>; close: () => void }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
  const [socket] = (await once(server, "connection")) as [Socket];
  const received = (async () => {
    const pieces: Buffer[] = [];
    for await (const piece of client) pieces.push(piece as Buffer);
    return Buffer.concat(pieces).toString("latin1");
  })();
  const close = () => {
    client.destroy();
    socket.destroy();
    server.close();
  };
  return { socket, received, close };
}
