import { Socket } from "node:net";

import type { ListeningSocket } from "./listen/listening-sockets.ts";
import type { Inheritance } from "./workers-options.ts";

/** The environment variable that tells a process that it succeeds another one. */
export const SUCCEEDS = "SLUICE_SUCCEEDS";

/** Where a successor finds the lifeline, and from where on the sockets, the admin endpoint's first. */
export const LIFELINE_FD = 4;
export const SOCKETS_FD = 5;

/** What is read of commands at a time. */
const COMMANDS_BYTES = 256;

/** What a process tells its successor, over IPC. */
export interface HandoverMessage {
  readonly kind: "handover";
  /** The address of each socket that it gets, in the order of the descriptors, without the admin endpoint's. */
  readonly sockets: readonly { readonly address: string; readonly port: number }[];
  /** Base64. Secret, hence not in the environment. */
  readonly ticketKey: string;
  /** How many workers there shall be: an operator may have changed it since the program was started. */
  readonly workers: number;
  /** Whether the proxy was told to fail health checks. */
  readonly healthFailed: boolean;
  /** Where the control plane is; "" if nowhere. */
  readonly xds: string;
}

/** What a process has from the one before it. */
export interface Handover extends Inheritance {
  readonly adminFd: number;
  readonly xds: string | undefined;
  readonly lifeline: Lifeline;
}

/**
 * The connection to the first process of the line, which the operator knows by its number: it passes on what it is told to do, and ends when
 * the last process does. And that one ends when the first is gone.
 */
export class Lifeline {
  readonly #fd: number;
  #socket: Socket | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** For the next process. */
  get fd(): number {
    return this.#fd;
  }

  /** Listens for commands; `stop` also when the first process is gone. To be called when the process has taken over. */
  listen(commands: { readonly stop: () => void; readonly restart: () => void }): void {
    let partial = "";
    const callback = (length: number, bytes: Uint8Array) => {
      const lines = (partial + Buffer.from(bytes.buffer, bytes.byteOffset, length).toString("latin1")).split("\n");
      partial = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "stop") commands.stop();
        else if (line === "restart") commands.restart();
      }
      return true;
    };
    // With a buffer of our own, pause() really stops reading; otherwise a paused socket still reads ahead what the next process is to get.
    const onread = { buffer: new Uint8Array(COMMANDS_BYTES), callback };
    const socket = new Socket({ fd: this.#fd, readable: true, writable: true, onread });
    this.#socket = socket;
    socket.on("error", () => {}).on("end", commands.stop);
    socket.unref();
  }

  /** Leaves the commands to the next process, which is about to start. */
  pause(): void {
    this.#socket?.pause();
  }

  /** Takes commands again: there is no next process. */
  resume(): void {
    this.#socket?.resume();
  }
}

/** Takes over what the process before this one hands over; undefined: there is none. */
export async function receiveHandover(): Promise<Handover | undefined> {
  if (process.env[SUCCEEDS] === undefined || !process.connected) return undefined;
  const message = await new Promise<HandoverMessage>((resolve) => process.once("message", resolve));
  const sockets: ListeningSocket[] = message.sockets.map((at, index) => ({ ...at, fd: SOCKETS_FD + 1 + index }));
  return {
    sockets,
    ticketKey: Buffer.from(message.ticketKey, "base64"),
    workers: message.workers,
    healthFailed: message.healthFailed,
    adminFd: SOCKETS_FD,
    xds: message.xds === "" ? undefined : message.xds,
    lifeline: new Lifeline(LIFELINE_FD),
  };
}
