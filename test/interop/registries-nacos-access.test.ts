/** Who may ask a real Nacos, and over what: tokens that expire, TLS on both ports, and servers that are found by name. */
import { create } from "@bufbuild/protobuf";
import { afterEach, expect, test } from "vitest";

import { ServiceKeySchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import type { NacosSettings } from "../../discovery/nacos/settings.ts";
import { NacosSource } from "../../discovery/nacos/source.ts";
import { RegistrySupervisor } from "../../discovery/supervise.ts";
import { TestAuthority } from "../support/certificates.ts";
import { NacosApplication } from "../support/nacos-application.ts";
import { Nacos } from "../support/nacos.ts";
import { waitFor } from "../support/wait.ts";

const SETTLE_MS = 60_000;
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(...options: Parameters<typeof Nacos.start>): Promise<Nacos> {
  const nacos = await Nacos.start(...options);
  cleanups.push(() => nacos.stop());
  return nacos;
}

function supervise(nacos: Nacos, more: Partial<NacosSettings> = {}) {
  const settings = { addresses: [nacos.url], username: nacos.username, password: nacos.password, ...more };
  const supervisor = new RegistrySupervisor({
    source: new NacosSource(settings),
    holdEmptyMs: 300_000,
    events: { changed: () => {} },
  });
  cleanups.push(() => supervisor.close());
  const watch = (service: string) => {
    const key = create(ServiceKeySchema, { service });
    void supervisor.add(key);
    return {
      report: () => supervisor.report(key),
      is: (state: string, count: number) => {
        const report = supervisor.report(key);
        if (report?.state === state && report.served?.endpointCount === count) return true;
        throw new Error(`${report?.state}: ${report?.problem?.message}, ${report?.served?.endpointCount} endpoints`);
      },
    };
  };
  return { supervisor, watch };
}

async function register(nacos: Nacos, service: string, tls = {}): Promise<void> {
  const application = await NacosApplication.start(nacos, tls);
  cleanups.push(() => application.close());
  await application.register(service, "10.0.0.1");
}

/** Whether a login's token is still taken. */
async function isTaken(nacos: Nacos, token: string): Promise<boolean> {
  const query = new URLSearchParams({ serviceName: "first", accessToken: token });
  const { status } = await fetch(`${nacos.url}/nacos/v3/client/ns/instance/list?${query.toString()}`);
  return status === 200;
}

test("a login whose token expires is renewed, and nothing is missed", async () => {
  const nacos = await start(3, { tokenSeconds: 5 });
  const form = new URLSearchParams({ username: nacos.username, password: nacos.password });
  const { supervisor, watch } = supervise(nacos);
  await register(nacos, "first");
  const first = watch("first");
  await waitFor("the first", () => first.is("fresh", 1), SETTLE_MS);
  // A token of this moment; the source's own is as old at least.
  const accessToken = await waitFor("a token that is good", async () => {
    const login = await fetch(`${nacos.url}/nacos/v3/auth/user/login`, { method: "POST", body: form });
    const { accessToken: token } = (await login.json()) as { accessToken: string };
    return (await isTaken(nacos, token)) ? token : undefined;
  });
  await waitFor("its end", async () => !(await isTaken(nacos, accessToken)), SETTLE_MS);
  const second = watch("second");
  await register(nacos, "second");
  await waitFor("the second", () => second.is("fresh", 1), SETTLE_MS);
  await waitFor("the first as before", () => first.is("fresh", 1), SETTLE_MS);
  await waitFor("both in the list", async () => {
    const names = (await supervisor.list(AbortSignal.timeout(60_000))).map(({ key }) => key.service);
    expect(names).toEqual(expect.arrayContaining(["first", "second"]));
    return true;
  });
  // A busy machine may be slow to answer; it must not have denied anything.
  const kinds = supervisor.history.flatMap(({ failure }) => failure?.kind ?? []);
  expect(kinds.filter((kind) => kind !== "unreachable")).toEqual([]);
});

test("over TLS both ports are asked, by name; an authority that isn't trusted shows as what it is", async () => {
  using authority = new TestAuthority();
  const certificate = authority.issue({ name: "nacos", altNames: ["DNS:localhost", "IP:127.0.0.1"], type: "rsa" });
  const nacos = await start(3, { tls: { ...certificate, ca: authority.cert } });
  const tls = { ca: authority.cert };
  await register(nacos, "secure", tls);
  for (const protocol of ["grpc", "http"] as const) {
    const { watch } = supervise(nacos, { protocol, tls, addresses: [`https://localhost:${nacos.port}`] });
    const secure = watch("secure");
    await waitFor(`it over ${protocol}`, () => secure.is("fresh", 1), SETTLE_MS);
    const untrusted = supervise(nacos, { protocol }).watch("secure");
    await waitFor("the doubt", () => untrusted.report()?.problem?.message.includes("certificate"), SETTLE_MS);
    expect(untrusted.report()?.state).toBe("failing");
  }
});
