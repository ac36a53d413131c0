/** Many data planes in one program, written in Go (test/load/xds/client), so that they cost little beside the server under measurement. */
import { createInterface } from "node:readline";
import { join } from "node:path";

import { Program } from "../support/processes.ts";

/** A change: the HTTP request that makes it, and the resource by which each stream can tell that it has arrived. */
export interface Change {
  readonly typeUrl: string;
  readonly name: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** How long a change took, from the moment before its request, in milliseconds. */
export interface Spread {
  /** The request's answer. */
  readonly answeredMs: number;
  /** The first, the middle and the last stream that received the resource. */
  readonly firstMs: number;
  readonly medianMs: number;
  readonly lastMs: number;
}

interface FleetOptions {
  /** "host:port" of the xDS server. */
  readonly target: string;
  readonly group: string;
  readonly streams: number;
  /** The clusters that the server has, each with endpoints. */
  readonly clusters: number;
}

const argsOf = ({ target, group, streams, clusters }: FleetOptions) => [
  ...["-target", target, "-group", group],
  ...["-streams", String(streams), "-clusters", String(clusters)],
];

/** Writes all resources of a server to a file that the Go server reads. */
export async function recordResources(programs: string, from: Omit<FleetOptions, "streams">, file: string) {
  const program = new Program(join(programs, "client"), [...argsOf({ ...from, streams: 1 }), "-record", file]);
  const code = await program.exit();
  if (code !== 0) throw new Error(`the resources could not be recorded: ${program.stderr}`);
}

/** Data planes that are connected and have all resources. */
export class Fleet implements AsyncDisposable {
  /** From the first connection's opening until the last stream had everything. */
  readonly syncedMs: number;
  readonly #program: Program;
  readonly #lines: AsyncIterator<string>;

  private constructor(program: Program, lines: AsyncIterator<string>, syncedMs: number) {
    this.#program = program;
    this.#lines = lines;
    this.syncedMs = syncedMs;
  }

  /** Starts the streams and waits until each has everything. */
  static async start(programs: string, options: FleetOptions): Promise<Fleet> {
    const program = new Program(join(programs, "client"), argsOf(options), { stdin: "pipe" });
    const { stdout } = program.child;
    if (stdout === null) throw new Error("the client has no output");
    const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
    const { syncedMs } = (await nextLine(program, lines)) as { syncedMs: number };
    return new Fleet(program, lines, syncedMs);
  }

  /** Makes a change and waits until it has reached every stream. */
  async change(change: Change): Promise<Spread> {
    this.#program.child.stdin?.write(`${JSON.stringify(change)}\n`);
    return (await nextLine(this.#program, this.#lines)) as Spread;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop("SIGKILL");
  }
}

async function nextLine(program: Program, lines: AsyncIterator<string>): Promise<unknown> {
  const { value, done } = await lines.next();
  if (done === true) {
    await program.exit();
    throw new Error(`the fleet has ended: ${program.stderr.slice(-2_000)}`);
  }
  return JSON.parse(value);
}
