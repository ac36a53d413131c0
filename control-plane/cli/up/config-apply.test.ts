/** Whose objects are whose, whatever becomes of a call. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";

import { GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";

import type { AdminClient } from "../client.ts";
import { objectKeys } from "../objects.ts";
import { applyFile } from "./config-apply.ts";

test.each([
  [Code.Unavailable, "of which no answer came", true],
  [Code.DeadlineExceeded, "that took too long", true],
  [Code.InvalidArgument, "that was refused", false],
])("%s: what an apply %s would bring is the file's: %s", async (code, _, isOwned) => {
  const gateway = create(GatewaySchema, { services: [{ name: "a", gatewayGroup: "default" }] });
  let keys: ReadonlySet<string> = new Set();
  const owned = { read: async () => keys, write: async (now: readonly string[]) => void (keys = new Set(now)) };
  const apply = async () => {
    throw new ConnectError("so it goes", code);
  };
  const gateways = { apply } as unknown as AdminClient["gateways"];
  await expect(applyFile({ gateways }, gateway, owned)).rejects.toThrow("so it goes");
  expect([...keys]).toEqual(isOwned ? objectKeys(gateway) : []);
});
