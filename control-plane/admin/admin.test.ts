/** The admin API as clients meet it, over each of its protocols and on both stores. */
import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { ChangeType, ProblemsSchema } from "#sluice/admin/v1/common_pb.ts";
import { GatewayGroupService } from "#sluice/admin/v1/gateway_group_service_pb.ts";
import { GatewayService, type WatchResponse } from "#sluice/admin/v1/gateway_service_pb.ts";
import { ServiceService } from "#sluice/admin/v1/service_service_pb.ts";
import { StatusService } from "#sluice/admin/v1/status_service_pb.ts";

import { authorized, startControlPlane, type TestControlPlane } from "../../test/support/control-plane.ts";
import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";

const upstreams = [{ name: "default", nodes: [{ host: "127.0.0.1", port: 9101 }] }];
const service = (name: string, more: object = {}) => ({
  name,
  hosts: [`${name}.example.com`],
  upstreams,
  routes: [{ name: "all", paths: ["/*"] }],
  ...more,
});

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

const transports = {
  grpc: (baseUrl: string) => createGrpcTransport({ baseUrl, interceptors: [authorized()] }),
  "grpc-web on HTTP/1.1": (baseUrl: string) =>
    createGrpcWebTransport({ baseUrl, httpVersion: "1.1", interceptors: [authorized()] }),
  "connect JSON on HTTP/1.1": (baseUrl: string) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false, interceptors: [authorized()] }),
  "connect on HTTP/2": (baseUrl: string) =>
    createConnectTransport({ baseUrl, httpVersion: "2", interceptors: [authorized()] }),
} satisfies Record<string, (baseUrl: string) => Transport>;

let plane: TestControlPlane;
let gateways: Client<typeof GatewayService>;
let groups: Client<typeof GatewayGroupService>;
let services: Client<typeof ServiceService>;
let status: Client<typeof StatusService>;

function use(transport: Transport): void {
  gateways = createClient(GatewayService, transport);
  groups = createClient(GatewayGroupService, transport);
  services = createClient(ServiceService, transport);
  status = createClient(StatusService, transport);
}

/** What a call is refused with. */
async function refusal(call: Promise<unknown>): Promise<{ code: string; message: string; problems: string[][] }> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => ConnectError.from(reason),
  );
  if (error === undefined) throw new Error("the call was not refused");
  const problems = error.findDetails(ProblemsSchema).flatMap(({ problems: all }) => all);
  return {
    code: Code[error.code],
    message: error.rawMessage,
    problems: problems.map(({ field, reason }) => [field, reason]),
  };
}

describe.each(Object.entries(transports))("over %s", (_, transport) => {
  beforeEach(async () => {
    plane = await startControlPlane();
    use(transport(plane.url));
  });
  afterEach(() => plane.close());

  test("calls, refusals and streams work", async () => {
    const created = await services.createService({ service: service("a") });
    expect(created.metadata?.revision).toBe(2n);
    expect((await services.getService({ name: "a" })).service?.gatewayGroup).toBe("default");
    const refused = await refusal(services.createService({ service: service("b", { upstreams: [] }) }));
    expect(refused.code).toBe("InvalidArgument");
    expect(refused.problems.length).toBeGreaterThan(0);

    const leave = new AbortController();
    const watch = gateways.watch({ afterRevision: 1n }, { signal: leave.signal })[Symbol.asyncIterator]();
    expect((await watch.next()).value.revision).toBe(1n);
    expect((await watch.next()).value.changes[0].type).toBe(ChangeType.CREATED);
    const next = watch.next();
    await services.deleteService({ name: "a" });
    expect((await next).value.changes[0].type).toBe(ChangeType.DELETED);
    leave.abort();
  });
});

describe.each(["sqlite", "postgres"] as const)("on %s", (kind) => {
  beforeEach(async () => {
    plane = await startControlPlane(kind === "sqlite" ? {} : { storeUrl: await postgres.createDatabase() });
    use(transports.grpc(plane.url));
  });
  afterEach(() => plane.close());

  test("one object at a time: create, get, update, delete, with their revisions", async () => {
    const created = await services.createService({ service: service("a") });
    const updated = await services.updateService({
      service: service("a", { description: "new" }),
      expectedRevision: created.metadata?.revision,
    });
    expect(updated.metadata?.revision).toBe(3n);
    expect(updated.metadata?.createTime).toEqual(created.metadata?.createTime);
    expect(updated.change?.fields.map(({ path, before, after }) => [path, before, after])).toEqual([
      ["description", "", '"new"'],
    ]);
    const same = await services.updateService({ service: service("a", { description: "new" }) });
    expect(same.metadata?.revision).toBe(3n);

    const stale = await refusal(services.deleteService({ name: "a", expectedRevision: 2n }));
    expect(stale).toMatchObject({ code: "Aborted", message: expect.stringMatching(/revision 3.* expects 2/) });
    expect((await services.deleteService({ name: "a", expectedRevision: 3n })).revision).toBe(4n);
    expect(await refusal(services.getService({ name: "a" }))).toMatchObject({ code: "NotFound" });
    expect(await refusal(services.deleteService({ name: "a" }))).toMatchObject({ code: "NotFound" });
    expect(await refusal(services.updateService({ service: service("a") }))).toMatchObject({ code: "NotFound" });
  });

  test("creating twice, or on a revision that has passed, is refused", async () => {
    await services.createService({ service: service("a"), expectedRevision: 1n });
    expect(await refusal(services.createService({ service: service("a") }))).toMatchObject({ code: "AlreadyExists" });
    const stale = services.createService({ service: service("b"), expectedRevision: 1n });
    expect(await refusal(stale)).toMatchObject({ code: "Aborted", message: expect.stringContaining("revision 2") });
  });

  test("dry runs say all and write nothing", async () => {
    const created = await services.createService({ service: service("a"), dryRun: true });
    expect(created.service?.name).toBe("a");
    expect(created.metadata).toBeUndefined();
    const applied = await gateways.apply({ gateway: { services: [service("a")] }, dryRun: true });
    expect(applied.changes.map(({ type }) => type)).toEqual([ChangeType.CREATED]);
    expect(applied.revision).toBe(1n);
    const missing = services.deleteService({ name: "a", dryRun: true });
    expect(await refusal(missing)).toMatchObject({ code: "NotFound" });
    expect((await status.getStatus({})).revision).toBe(1n);
  });

  test("a gateway group with services stays", async () => {
    await groups.createGatewayGroup({ gatewayGroup: { name: "edge", listeners: [{ name: "l", port: 9090 }] } });
    await services.createService({ service: service("a", { gatewayGroup: "edge" }) });
    const refused = await refusal(groups.deleteGatewayGroup({ name: "edge" }));
    expect(refused).toMatchObject({ code: "FailedPrecondition", problems: [["", "group_in_use"]] });
    expect(refused.message).toContain("1 service(s) (a)");
    await services.deleteService({ gatewayGroup: "edge", name: "a" });
    expect((await groups.deleteGatewayGroup({ name: "edge" })).revision).toBe(5n);
  });

  test("apply writes a gateway whole, once, and prunes what it doesn't name", async () => {
    const gateway = { services: [service("a"), service("b")] };
    const first = await gateways.apply({ gateway });
    expect([first.revision, first.changes.length, first.unchangedObjects]).toEqual([2n, 2, 0]);
    const second = await gateways.apply({ gateway });
    expect([second.revision, second.changes.length, second.unchangedObjects]).toEqual([2n, 0, 2]);

    const pruned = await gateways.apply({ gateway: { services: [service("b"), service("c")] }, prune: true });
    expect(pruned.changes.map(({ type, before, after }) => [type, (after ?? before)?.kind.value?.name])).toEqual([
      [ChangeType.CREATED, "c"],
      [ChangeType.DELETED, "a"],
    ]);
    const exported = await gateways.export({});
    expect(exported.revision).toBe(3n);
    expect(exported.gateway?.gatewayGroups.map(({ name }) => name)).toEqual(["default"]);
    expect(exported.gateway?.services.map(({ name }) => name)).toEqual(["b", "c"]);

    const moved = await gateways.apply({
      gateway: {
        gatewayGroups: [{ name: "other", listeners: [{ name: "l", port: 9090 }] }],
        services: [service("b", { gatewayGroup: "other" })],
      },
      prune: true,
    });
    expect(moved.revision).toBe(4n);
    expect((await gateways.export({})).gateway?.gatewayGroups.map(({ name }) => name)).toEqual(["other"]);
    expect(await refusal(gateways.export({ gatewayGroup: "default" }))).toMatchObject({ code: "NotFound" });
  });

  test("apply refuses with every problem and leaves all as it was", async () => {
    const refused = await refusal(
      gateways.apply({
        gateway: {
          services: [service("a"), service("a"), service("no name"), service("b", { gatewayGroup: "nowhere" })],
        },
      }),
    );
    expect(refused.code).toBe("InvalidArgument");
    const fields = refused.problems.map(([field]) => field);
    expect(fields).toEqual(
      expect.arrayContaining(["services[1].name", "services[2].name", "services[3].gatewayGroup"]),
    );
    const { revision } = await gateways.export({});
    expect(revision).toBe(1n);
  });

  test("hundreds of problems fit into one answer, the rest is counted", async () => {
    const bad = Array.from({ length: 400 }, (_, at) => service(`no name ${at} ${"x".repeat(60)}`));
    const refused = await refusal(gateways.apply({ gateway: { services: bad } }));
    expect(refused).toMatchObject({ code: "InvalidArgument", message: expect.stringContaining("and 799 more") });
    expect(refused.problems.length).toBeGreaterThanOrEqual(50);
  });

  test("lists are paged, stable under writes, and filtered by labels", async () => {
    const labelled = (at: number) => service(`s${String(at).padStart(2, "0")}`, { labels: { odd: String(at % 2) } });
    await groups.createGatewayGroup({ gatewayGroup: { name: "edge", listeners: [{ name: "l", port: 9090 }] } });
    await gateways.apply({
      gateway: {
        services: [...Array.from({ length: 12 }, (_, at) => labelled(at)), service("z", { gatewayGroup: "edge" })],
      },
    });
    const names = (page: { items: { service?: { name: string } | undefined }[] }) =>
      page.items.map((item) => item.service?.name);
    const first = await services.listServices({ pageSize: 5 });
    expect(names(first)).toEqual(["s00", "s01", "s02", "s03", "s04"]);
    await services.deleteService({ name: "s04" });
    await services.createService({ service: service("s01a") });
    const second = await services.listServices({ pageSize: 5, pageToken: first.nextPageToken });
    expect(names(second)).toEqual(["s05", "s06", "s07", "s08", "s09"]);
    const third = await services.listServices({ pageSize: 5, pageToken: second.nextPageToken });
    expect(names(third)).toEqual(["s10", "s11", "z"]);
    expect(third.nextPageToken).toBe("");

    expect(names(await services.listServices({ labels: { odd: "1" } }))).toEqual([
      "s01",
      "s03",
      "s05",
      "s07",
      "s09",
      "s11",
    ]);
    expect(names(await services.listServices({ gatewayGroup: "edge" }))).toEqual(["z"]);
    const foreign = services.listServices({ gatewayGroup: "edge", pageToken: first.nextPageToken });
    expect(await refusal(foreign)).toMatchObject({ code: "InvalidArgument", problems: [["pageToken", "page_token"]] });
    expect((await groups.listGatewayGroups({ pageSize: 1 })).items[0]?.gatewayGroup?.name).toBe("default");
  });

  test("past changes are listed by page, the newest first, also of one group", async () => {
    await groups.createGatewayGroup({ gatewayGroup: { name: "edge", listeners: [{ name: "l", port: 9090 }] } });
    for (const name of ["a", "b", "c"]) await services.createService({ service: service(name) });
    const first = await gateways.listChanges({ pageSize: 3 });
    expect(first.transactions.map(({ revision }) => revision)).toEqual([5n, 4n, 3n]);
    const madeUp = Buffer.from(JSON.stringify(["changes", "", "everything"])).toString("base64url");
    expect(await refusal(gateways.listChanges({ pageToken: madeUp }))).toMatchObject({
      ...{ code: "InvalidArgument", problems: [["pageToken", "page_token"]] },
    });
    const second = await gateways.listChanges({ pageSize: 3, pageToken: first.nextPageToken });
    expect(second.transactions.map(({ revision, actor }) => [revision, actor])).toEqual([
      [2n, "administrator"],
      [1n, "sluice"],
    ]);
    expect(second.nextPageToken).toBe("");
    const edge = await gateways.listChanges({ gatewayGroup: "edge" });
    expect(edge.transactions.map(({ revision }) => revision)).toEqual([2n]);
  });

  test("a watch misses nothing while writes go on", async () => {
    const seen: WatchResponse[] = [];
    const leave = new AbortController();
    const watching = (async () => {
      for await (const answer of gateways.watch({ afterRevision: 0n }, { signal: leave.signal })) {
        seen.push(answer);
        if (answer.revision === 41n) break;
      }
    })();
    await Promise.all(Array.from({ length: 40 }, (_, at) => services.createService({ service: service(`s${at}`) })));
    await watching;
    expect(seen.map(({ revision }) => Number(revision))).toEqual(Array.from({ length: 42 }, (_, at) => at));
    expect(seen[0]?.changes).toEqual([]);
  });

  test("a watch of a group sees only that group", async () => {
    await groups.createGatewayGroup({ gatewayGroup: { name: "edge", listeners: [{ name: "l", port: 9090 }] } });
    const watch = gateways.watch({ gatewayGroup: "edge", afterRevision: 0n })[Symbol.asyncIterator]();
    await services.createService({ service: service("a") });
    await services.createService({ service: service("b", { gatewayGroup: "edge" }) });
    const revisions: bigint[] = [];
    for (let at = 0; at < 3; at++) revisions.push((await watch.next()).value.revision);
    expect(revisions).toEqual([0n, 2n, 4n]);
    await watch.return?.();
    const early = gateways.watch({ afterRevision: 99n })[Symbol.asyncIterator]().next();
    expect(await refusal(early)).toMatchObject({ code: "OutOfRange" });
  });

  test("the status tells of the store and of no data plane", async () => {
    const answer = await status.getStatus({});
    expect(answer).toMatchObject({ revision: 1n, store: kind, xdsAddress: plane.xdsAddress, connectedNodes: 0 });
    expect((await status.listNodes({})).nodes).toEqual([]);
  });
});
