/** Routes of several services on one host: told apart when they are written, and never twice on their way from one to another. */
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, expect, test } from "vitest";

import { ProblemsSchema } from "#sluice/admin/v1/common_pb.ts";
import { GatewayService } from "#sluice/admin/v1/gateway_service_pb.ts";

import { authorized, startControlPlane, type TestControlPlane } from "../support/control-plane.ts";

const HOST = "shop.example.com";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startControlPlane();
});
afterEach(() => plane.close());

const service = (name: string, ...paths: string[]) => ({
  name,
  hosts: [HOST],
  upstreams: [{ name: "default", nodes: [{ host: "10.0.0.1", port: 80 }] }],
  routes: paths.map((path) => ({ name: path.slice(1), paths: [path] })),
});

const apply = (services: ReturnType<typeof service>[], prune = false) => {
  const transport = createGrpcTransport({ baseUrl: plane.url, interceptors: [authorized()] });
  return createClient(GatewayService, transport).apply({ gateway: { services }, prune });
};

test("a route that another service has is refused, with the names of both, and nothing is written", async () => {
  const { revision } = await apply([service("orders", "/list")]);
  const error = await apply([service("other", "/list", "/new")]).catch((reason: unknown) => ConnectError.from(reason));
  if (!(error instanceof ConnectError)) throw new Error("it was written");
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.findDetails(ProblemsSchema).flatMap(({ problems }) => problems)).toMatchObject([
    {
      field: "services[0].routes[0]",
      reason: "ambiguous_route",
      message: expect.stringMatching(/route "list" .* route "list" of service "orders" \(host "shop.example.com"/),
    },
  ]);
  expect((await apply([service("orders", "/list")])).revision).toBe(revision);
});

test("in one write a route moves to another service, or comes with one that takes the place of the first", async () => {
  await apply([service("orders", "/list", "/items")]);
  // The new owner stands before the old one, which is the harder order.
  expect((await apply([service("lists", "/list"), service("orders", "/items")])).changes).toHaveLength(2);
  const { changes } = await apply([service("all", "/list", "/items")], true);
  expect(changes).toHaveLength(3);
});
