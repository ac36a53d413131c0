import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { run } from "../support/processes.ts";
import { h2load as installed } from "../support/tools.ts";
import { answerBytes, type LoadCase, pathOf, SERVER_NAME } from "./cases.ts";
import { GRPC_HOST, ROUTES } from "./configs.ts";
import { grpcMessage } from "./grpc-message.ts";
import { type Counted, portOf, type Target } from "./target.ts";

/** HTTP/2 by h2load, as fast as it is answered. Throws if an answer is not 2xx, or bodies were not whole. */
export async function h2load(target: Target, load: LoadCase, seconds: number, dir: string): Promise<Counted> {
  const tool = await installed();
  const grpc = load.protocol === "grpc";
  const message = join(dir, "message");
  if (grpc) await writeFile(message, grpcMessage);
  const origin = `https://${grpc ? GRPC_HOST : SERVER_NAME}`;
  const args = [
    ...["-t1", `-c${load.connections}`, `-m${load.streams ?? 1}`, `-D${seconds}`, "--warm-up-time=0"],
    `--connect-to=127.0.0.1:${portOf(target, load)}`,
    ...(grpc ? ["-d", message, "-H", "content-type: application/grpc", "-H", "te: trailers"] : []),
    ...(grpc
      ? [`${origin}/bench.Echo/Call`]
      : Array.from({ length: ROUTES }, (_, route) => `${origin}${pathOf(route, load)}`)),
  ];
  const { stdout, stderr } = await run(tool.path, args, { env: tool.env });
  const [, requests, failed] =
    /requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed/.exec(stdout) ?? [];
  const [, good] = /status codes: (\d+) 2xx/.exec(stdout) ?? [];
  const [, bytes] = /, [^,]*\((\d+)\) data/.exec(stdout) ?? [];
  const short = Number(bytes) < Number(requests) * (grpc ? grpcMessage.length : answerBytes[load.answer]);
  if (!(Number(requests) > 0) || Number(failed) > 0 || Number(good) < Number(requests) || short) {
    throw new Error(`${target.name}, ${load.id}: ${stdout}${stderr}`);
  }
  const [, perSecond] = /, ([\d.]+) req\/s/.exec(stdout) ?? [];
  return { requests: Number(requests), requestsPerSecond: Number(perSecond), p99Ms: Number.NaN };
}
