import { once } from "node:events";
import { join } from "node:path";

import { type Message, toBinary } from "@bufbuild/protobuf";
import { AnySchema, anyPack } from "@bufbuild/protobuf/wkt";

import { servedTypes } from "#proto/resource-types.ts";

import { ask } from "./http.ts";
import { Program, root } from "./processes.ts";
import { goPrograms } from "./tools.ts";

/** Our programs around go-control-plane (test/load/xds): the folder of `server` and `client`. */
export const xdsPrograms = () => goPrograms("xds-bench", join(root, "test/load/xds"));

/** A running go-control-plane with a snapshot cache, that takes changes. */
export class GoControlPlane {
  readonly program: Program;
  /** "host:port" of the xDS port. */
  readonly target: string;
  /** "host:port" of the address that takes changes; test/load/xds/server says which. */
  readonly control: string;

  private constructor(program: Program, target: string, control: string) {
    this.program = program;
    this.target = target;
    this.control = control;
  }

  /** Starts it for the nodes of one cluster; on a port of its choice, and without resources, unless told otherwise. */
  static async start(more: { group?: string; xds?: string; resources?: string } = {}): Promise<GoControlPlane> {
    const { group = "default", xds = "127.0.0.1:0", resources = "" } = more;
    const args = ["-group", group, "-xds", xds, "-resources", resources];
    const program = new Program(join(await xdsPrograms(), "server"), args);
    while (!program.stdout.includes("\n")) {
      if (program.exited) throw new Error(`go-control-plane has ended: ${program.stderr}`);
      await Promise.race([once(program.child.stdout ?? program.child, "data"), program.exit()]);
    }
    const said = JSON.parse(program.stdout) as { xds: string; control: string };
    return new GoControlPlane(program, said.xds, said.control);
  }

  /** Adds or replaces a resource. */
  async put(resource: Message): Promise<void> {
    const type = servedTypes.find(({ schema }) => schema.typeName === resource.$typeName);
    if (type === undefined) throw new Error(`${resource.$typeName} is no resource`);
    await this.#call("POST", "/put", toBinary(AnySchema, anyPack(type.schema, resource)));
  }

  async remove(type: string, name: string): Promise<void> {
    await this.#call("POST", `/remove?${new URLSearchParams({ type, name }).toString()}`);
  }

  /** What clients have refused so far. */
  async refusals(): Promise<string[]> {
    return JSON.parse(await this.#call("GET", "/refusals")) as string[];
  }

  async #call(method: string, path: string, body?: Uint8Array): Promise<string> {
    const port = Number(this.control.split(":")[1]);
    const answer = await ask(port, { method, path, ...(body !== undefined && { body: Buffer.from(body) }) });
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${answer.body}`);
    return answer.body;
  }
}
