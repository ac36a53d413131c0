import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/**
 * Has a program log some thousand lines to a disk that is full, and then two more when there is room.
 * @param module its createLogger is called with `args`
 * @returns what it logged then
 */
export async function logWithoutRoom(module: string, ...args: readonly string[]): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "sluice-test-"));
  const file = join(dir, "log");
  const script = `
    import { closeSync, openSync } from "node:fs";
    import { createLogger } from ${JSON.stringify(module)};
    const log = createLogger(...${JSON.stringify(args)});
    for (let line = 0; line < 20_000; line++) log.info({ line }, "${"without room ".repeat(10)}");
    // What is opened next gets the number that is free.
    closeSync(2);
    openSync(${JSON.stringify(file)}, "a");
    log.info("room comes");
    log.info("there is room");`;
  try {
    const command = `exec "$0" --input-type=module -e "$1" 2>/dev/full`;
    await promisify(execFile)("sh", ["-c", command, process.execPath, script]);
    return await readFile(file, "utf8");
  } finally {
    await rm(dir, { recursive: true });
  }
}
