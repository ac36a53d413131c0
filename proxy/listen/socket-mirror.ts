/** A program of its own, started by duplicate.ts: sends the sockets that it inherits back to the process that started it, and accepts nothing on them. */
import { type SendHandle, type Serializable } from "node:child_process";
import { Socket } from "node:net";

const [first, count] = process.argv.slice(2).map(Number) as [number, number];
const send = process.send?.bind(process) as (message: Serializable, handle: SendHandle) => void;

// Each is sent when the one before has arrived; the other end decides when all have.
process.channel?.ref();

for (let index = 0; index < count; index++) {
  const socket = new Socket({ fd: first + index, readable: false, writable: false });
  // A net.Server would listen, and a net.Socket be read from, as soon as there is one at the other end; a handle as such does nothing.
  send(index, (socket as unknown as { readonly _handle: SendHandle })._handle);
}
