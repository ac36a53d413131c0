/** Tunnels whose origin ends its half at once, and takes what comes when it likes. */
import type { Socket } from "node:net";

import { TestServer } from "./data-path.ts";
import type { RawClient } from "./raw-client.ts";
import { standstill, until } from "./wait.ts";
import * as h2 from "./http2-frames.ts";

/** An origin that answers `head` to what comes first, ends its half, and reads nothing until readAll(), which returns how many bytes came in all. */
export async function slowOrigin(head: string) {
  let taken: Socket | undefined;
  const server = await TestServer.raw((socket) => {
    taken = socket;
    if (head === "") return void socket.pause().end();
    let request = "";
    const read = (bytes: Buffer) => {
      request += bytes.toString("latin1");
      if (!request.includes("\r\n\r\n")) return;
      socket.off("data", read).pause();
      socket.end(head, "latin1");
    };
    socket.on("data", read);
  }, true);
  const readAll = async () => {
    let bytes = 0;
    let ended = false;
    taken?.on("data", (piece: Buffer) => (bytes += piece.length)).on("close", () => (ended = true));
    taken?.resume();
    await until(() => ended);
    return bytes;
  };
  return { server, readAll };
}

const PIECE = Buffer.alloc(16_000);
/** What a client may send without a word, on a stream of ours and on a connection (RFC 9113, 6.9.2). */
const WINDOW = 65_535;

/** Sends on stream 1, whose answer is awaited first, as much as is taken, and ends it then. Returns how many bytes that were. */
export async function fillTunnel(client: RawClient): Promise<number> {
  const isEnd = ({ streamId, flags }: { streamId: number; flags: number }) =>
    streamId === 1 && (flags & h2.END_STREAM) !== 0;
  await client.until((text) => h2.framesOf(text).some(isEnd));
  let sent = 0;
  const room = () => {
    const updates = h2.framesOf(client.received).filter(({ type }) => type === h2.WINDOW_UPDATE);
    const granted = (id: number) =>
      updates.reduce((sum, { streamId, payload }) => sum + (streamId === id ? payload.readUInt32BE(0) : 0), WINDOW);
    return Math.min(granted(0), granted(1)) - sent;
  };
  const send = () => {
    for (; room() >= PIECE.length; sent += PIECE.length) client.socket.write(h2.frame(h2.DATA, 0, 1, PIECE));
  };
  client.socket.on("data", send);
  send();
  await standstill(() => sent);
  client.socket.off("data", send);
  client.socket.write(h2.frame(h2.DATA, h2.END_STREAM, 1));
  return sent;
}
