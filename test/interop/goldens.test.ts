/** Every golden gateway, served to a real Envoy: it must accept all of it. A golden alone only shows that output did not change. */
import { globSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { ControlPlane, startEnvoy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { root } from "../support/processes.ts";
import { envoy } from "../support/tools.ts";
import { waitFor } from "../support/wait.ts";

interface GatewayFile {
  gatewayGroups?: { name?: string; listeners?: { port?: number }[]; accessLog?: { path?: string } }[];
  services?: Member[];
  registries?: Member[];
  certificates?: Member[];
  caCertificates?: Member[];
}

interface Member {
  gatewayGroup?: string;
}

const goldens = globSync(join(root, "control-plane/translate/testdata/*.in.yaml")).sort();

let dir: Awaited<ReturnType<typeof temporaryDir>>;
let plane: ControlPlane;
let envoyPath: string;

beforeAll(async () => {
  envoyPath = await envoy();
  dir = await temporaryDir();
  plane = await ControlPlane.start(join(dir.path, "data"));
});

afterAll(async () => {
  await plane?.program.stop();
  await dir?.remove();
});

test("there are goldens", () => {
  expect(goldens.length).toBeGreaterThan(10);
});

test.each(goldens.map((path) => basename(path, ".in.yaml")))("Envoy accepts %s", async (name) => {
  const golden = goldens.find((path) => basename(path, ".in.yaml") === name) as string;
  const gateway = parse(readFileSync(golden, "utf8")) as GatewayFile;
  // Each golden gets a group of its own, listeners on ports that are free here, and a log file whose folder exists here.
  const groups = new Map(
    (gateway.gatewayGroups ?? []).map((group) => [group.name ?? "", `${name}-${group.name}`.slice(0, 100)]),
  );
  const fallback = `${name}-default`.slice(0, 100);
  for (const group of gateway.gatewayGroups ?? []) {
    group.name = groups.get(group.name ?? "") ?? fallback;
    for (const listener of group.listeners ?? []) listener.port = await freePort();
    if (group.accessLog?.path !== undefined) group.accessLog.path = join(dir.path, "access.log");
  }
  const { services = [], registries = [], certificates = [], caCertificates = [] } = gateway;
  for (const member of [...services, ...registries, ...certificates, ...caCertificates])
    member.gatewayGroup = groups.get(member.gatewayGroup ?? "default") ?? fallback;
  if (!(gateway.gatewayGroups ?? []).some((group) => group.name === fallback)) {
    gateway.gatewayGroups = [
      ...(gateway.gatewayGroups ?? []),
      Object.assign(
        { name: fallback },
        { listeners: [{ name: "http", address: "127.0.0.1", port: await freePort() }] },
      ),
    ];
  }
  const file = join(dir.path, `${name}.yaml`);
  await writeFile(file, stringify(gateway));
  const applied = await plane.sluice("apply", "-f", file);
  expect(applied.stderr).toBe("");

  for (const group of gateway.gatewayGroups ?? []) {
    const { program, adminPort } = await startEnvoy(envoyPath, plane.xdsPort, {
      group: group.name ?? "",
      nodeId: group.name ?? "",
    });
    try {
      const state = await waitFor(
        "Envoy to have accepted or refused everything",
        async () => {
          const { stdout } = await plane.sluice("status", group.name ?? "", "-o", "json");
          return /"(synced|nacked)"/i.exec(stdout)?.[1]?.toUpperCase();
        },
        60_000,
      );
      // A stream that broke off and came again is not the golden's affair.
      const words = program.stderr
        .split("\n")
        .filter((line) => /rejected|error/i.test(line) && !/gRPC config stream/.test(line));
      expect([state, ...words]).toEqual(["SYNCED"]);
      expect((await ask(adminPort, { path: "/config_dump" })).body).not.toContain('"error_state"');
    } finally {
      await program.stop();
    }
  }
});
