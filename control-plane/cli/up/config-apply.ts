import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import type { ApplyResponse } from "#sluice/admin/v1/gateway_service_pb.ts";
import { type Gateway, GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";

import type { AdminClient } from "../client.ts";
import { kinds } from "../kinds.ts";
import { objectKey, objectKeys } from "../objects.ts";

/** How often a write is tried again because somebody else's came between. */
const ATTEMPTS_MAX = 5;

/** Which objects of the store come from the file of `up --config`, so that one that vanishes from the file is deleted, and no other. */
export interface OwnedObjects {
  read(): Promise<ReadonlySet<string>>;
  write(keys: readonly string[]): Promise<void>;
}

/** The keys of owned objects (objectKeys) in a file of the data directory. */
export function ownedObjectsIn(dataDirectory: string): OwnedObjects {
  const path = join(dataDirectory, "config-objects.json");
  return {
    async read() {
      try {
        const keys: unknown = JSON.parse(await readFile(path, "utf8"));
        return new Set(Array.isArray(keys) ? keys.map(String) : []);
      } catch {
        // Without it nothing is deleted: the safe side.
        return new Set();
      }
    },
    async write(keys) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const temporary = `${path}.${process.pid}`;
      await writeFile(temporary, JSON.stringify(keys), { mode: 0o600 });
      await rename(temporary, path);
    },
  };
}

/**
 * Makes the store agree with a gateway file in one transaction: its objects are written, and those that an earlier state of the file
 * brought and that it no longer has are deleted. Objects that came another way stay. Throws what the admin API answers.
 */
export async function applyFile(
  { gateways }: Pick<AdminClient, "gateways">,
  gateway: Gateway,
  owned: OwnedObjects,
): Promise<ApplyResponse> {
  const before = await owned.read();
  const keys = objectKeys(gateway);
  const inFile = new Set(keys);
  const vanished = before.difference(inFile);
  const grows = !inFile.isSubsetOf(before);
  // Written down first: after a crash in between they are still known as the file's.
  if (grows) await owned.write([...before.union(inFile)]);
  try {
    const response =
      vanished.size === 0 ? await gateways.apply({ gateway }) : await applyWithout(gateways, gateway, inFile, vanished);
    if (vanished.size > 0) await owned.write(keys);
    return response;
  } catch (error) {
    // Refused: what the file would have brought is not its own. Where no answer came it may be, as after a crash.
    if (grows && isRefused(error)) await owned.write([...before]);
    throw error;
  }
}

/** Answers by which nothing was written. */
const refusals: ReadonlySet<Code> = new Set([
  ...[Code.InvalidArgument, Code.FailedPrecondition, Code.AlreadyExists, Code.NotFound, Code.OutOfRange],
  ...[Code.PermissionDenied, Code.Unauthenticated, Code.ResourceExhausted, Code.Unimplemented],
]);

const isRefused = (error: unknown) => error instanceof ConnectError && refusals.has(error.code);

/** The admin API deletes all that it is not given, so it is given everything but what vanished. */
async function applyWithout(
  gateways: AdminClient["gateways"],
  gateway: Gateway,
  inFile: ReadonlySet<string>,
  vanished: ReadonlySet<string>,
): Promise<ApplyResponse> {
  for (let attempt = 1; ; attempt++) {
    const { gateway: stored, revision } = await gateways.export({});
    const stays = (key: string) => !inFile.has(key) && !vanished.has(key);
    const lists = kinds.map((kind) => {
      const others = (stored?.[kind.list] ?? []).filter((value) => stays(objectKey(kind, value)));
      // The file's own first: so an index in the server's complaints is one in the file.
      return [kind.list, [...gateway[kind.list], ...others]];
    });
    const whole = create(GatewaySchema, Object.fromEntries(lists));
    try {
      return await gateways.apply({ gateway: whole, prune: true, expectedRevision: revision });
    } catch (error) {
      const outdated = error instanceof ConnectError && error.code === Code.Aborted;
      if (!outdated || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}
