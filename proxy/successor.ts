import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";

import { type HandoverMessage, type Lifeline, SUCCEEDS } from "./handover.ts";
import type { Inheritance } from "./workers-options.ts";

/** How long a successor may take until it serves; nobody waits for it meanwhile, and a machine whose cores are all taken makes it slow. */
const READY_MS_MAX = 180_000;

/** What a successor gets. */
export interface Estate extends Inheritance {
  /** The admin endpoint's listening socket. */
  readonly adminFd: number;
  readonly xds: string | undefined;
  /** Undefined: this is the first process of the line. */
  readonly lifeline: Lifeline | undefined;
}

/** A process that took over. */
export interface Successor {
  /** Only the first process of a line has this end of the lifeline. */
  readonly line: FirstEnd | undefined;
}

/** The first process's end of the lifeline. */
export class FirstEnd {
  readonly #socket: Socket;
  /** When the last process of the line has ended. */
  readonly ended: Promise<void>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.ended = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => {}).resume();
  }

  /** Has whichever process serves now end gracefully. */
  stop(): void {
    this.#socket.write("stop\n");
  }

  /** Has it start a successor. */
  restart(): void {
    this.#socket.write("restart\n");
  }
}

/**
 * Starts this program anew, with the same arguments and on the very same listening sockets, and waits until it serves. Throws, with
 * the successor gone, if it doesn't come up in time; `started` is told its process id. What is then accepted is accepted by either process, until this one stops.
 */
export async function startSuccessor(estate: Estate, started: (pid: number) => void): Promise<Successor> {
  const { sockets, adminFd, lifeline } = estate;
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    env: { ...process.env, [SUCCEEDS]: "1" },
    stdio: ["ignore", "inherit", "inherit", "ipc", lifeline?.fd ?? "pipe", adminFd, ...sockets.map(({ fd }) => fd)],
  });
  const message: HandoverMessage = {
    kind: "handover",
    sockets: sockets.map(({ address, port }) => ({ address, port })),
    ticketKey: Buffer.from(estate.ticketKey).toString("base64"),
    workers: estate.workers,
    healthFailed: estate.healthFailed,
    xds: estate.xds ?? "",
  };
  if (child.pid !== undefined) started(child.pid);
  try {
    await serving(child, message);
  } catch (error) {
    child.kill("SIGKILL");
    // Our end of its lifeline, which would stay open.
    (child.stdio[4] as Socket | null | undefined)?.destroy();
    throw error;
  }
  // The successor's side of "disconnect": it is on its own.
  child.disconnect();
  child.unref();
  const end = child.stdio[4] as Socket | null | undefined;
  return { line: lifeline === undefined && end ? new FirstEnd(end) : undefined };
}

function serving(child: ChildProcess, message: HandoverMessage): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("it does not serve in time")), READY_MS_MAX);
    const settle = (error?: Error) => {
      clearTimeout(late);
      if (error === undefined) resolve();
      else reject(error);
    };
    // More than one where it could not even be started: that, and that it can't be told anything.
    child.on("error", settle);
    child.once("exit", (code, signal) => settle(new Error(`it ended with ${signal ?? `exit code ${code}`}`)));
    child.on("message", (answer: { kind?: string; message?: string }) => {
      if (answer.kind === "ready") settle();
      else if (answer.kind === "failed") settle(new Error(answer.message));
    });
    if (child.connected) child.send(message, (error) => error && settle(error));
  });
}
