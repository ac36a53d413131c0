import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { tokenFile } from "./credentials.ts";
import { execCredentials, parseExecCredential } from "./exec-credentials.ts";
import { inClusterAccess } from "./in-cluster.ts";
import { waitFor } from "../../test/support/wait.ts";

const signal = new AbortController().signal;
const apiVersion = "client.authentication.k8s.io/v1";
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-credentials-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("a token file is read for each request, and never shown", async () => {
  const path = join(dir, "token");
  const credentials = tokenFile(path);
  await expect(credentials.get(signal)).rejects.toMatchObject({ kind: "unauthenticated", message: /ENOENT/ });
  await writeFile(path, "one\n");
  expect(await credentials.get(signal)).toEqual({ authorization: "Bearer one" });
  await writeFile(path, "two");
  expect(await credentials.get(signal)).toEqual({ authorization: "Bearer two" });
  await writeFile(path, "not\na token");
  await expect(credentials.get(signal)).rejects.toThrow(/something else than a token$/);
});

/** A plugin that counts its runs in a file and prints a token with that number. */
const plugin = (body: string) => ({
  ...{ apiVersion, command: process.execPath, args: ["-e", body, dir], env: { EXTRA: "yes" } },
  cluster: { server: "https://c.example" },
});
const countingBody = (status: string) => `
  const fs = require("node:fs"), file = process.argv[1] + "/runs";
  const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO);
  if (info.spec.cluster.server !== "https://c.example" || process.env.EXTRA !== "yes") process.exit(9);
  const runs = fs.existsSync(file) ? Number(fs.readFileSync(file)) + 1 : 1;
  fs.writeFileSync(file, String(runs));
  console.log(JSON.stringify({ apiVersion: info.apiVersion, kind: "ExecCredential", status: { token: "t" + runs, ${status} } }));`;

test("a plugin runs once for requests that come together, and again when its credential ends or is refused", async () => {
  let now = 1_000_000;
  const credentials = execCredentials(plugin(countingBody(`expirationTimestamp: "1970-01-01T01:00:00Z"`)), () => now);
  const [one, same] = await Promise.all([credentials.get(signal), credentials.get(signal)]);
  expect([one.authorization, same.authorization]).toEqual(["Bearer t1", "Bearer t1"]);
  expect(await credentials.get(signal)).toBe(one);
  credentials.refused(one);
  expect((await credentials.get(signal)).authorization).toBe("Bearer t2");
  // The first one is refused late: it is not the one that is in use.
  credentials.refused(one);
  expect((await credentials.get(signal)).authorization).toBe("Bearer t2");
  now = 3_580_000;
  expect((await credentials.get(signal)).authorization).toBe("Bearer t3");
});

test("a plugin gets our environment without what is for us alone", async () => {
  const body = `
    const token = [process.env.SLUICE_SECRET_KEY, process.env.CLOUD_PROFILE, process.env.EXTRA].join();
    console.log(JSON.stringify({ apiVersion: "${apiVersion}", kind: "ExecCredential", status: { token } }));`;
  vi.stubEnv("SLUICE_SECRET_KEY", "the key");
  vi.stubEnv("CLOUD_PROFILE", "shop");
  try {
    expect(await execCredentials(plugin(body)).get(signal)).toEqual({ authorization: "Bearer ,shop,yes" });
  } finally {
    vi.unstubAllEnvs();
  }
});

test("a plugin that fails explains itself, without what it printed", async () => {
  const body = `console.log("s3cret"); console.error("first\\nrun cloud login"); process.exit(3);`;
  const failing = execCredentials(plugin(body)).get(signal);
  await expect(failing).rejects.toMatchObject({
    kind: "unauthenticated",
    message: expect.stringMatching(/failed \(3\): run cloud login$/),
  });
  await expect(failing).rejects.not.toThrow(/s3cret/);
});

test("a plugin that hangs ends with all that it started, however deaf, and the next request runs it again", async () => {
  const pids = join(dir, "pids");
  const body = `
    process.on("SIGTERM", () => {});
    const { spawn } = require("node:child_process");
    const child = spawn("sleep", ["1000"], { stdio: "inherit" });
    child.on("spawn", () => {
      require("node:fs").appendFileSync(${JSON.stringify(pids)}, process.pid + " " + child.pid + " ");
      console.error("waiting for the cloud");
    });`;
  const isAlive = (pid: number) => {
    try {
      // A process that was killed and not waited for is there still, as a zombie.
      return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
      return false;
    }
  };
  const started = async () => (await readFile(pids, "utf8").catch(() => "")).trim().split(" ").map(Number);
  const credentials = execCredentials(plugin(body), Date.now, 3_000);
  for (let run = 1; run <= 2; run++) {
    await expect(credentials.get(signal)).rejects.toMatchObject({
      kind: "unauthenticated",
      message: expect.stringContaining("no answer in 3000 ms"),
    });
  }
  const all = (await started()).filter((pid) => pid > 0);
  await waitFor("all to be gone", () => !all.some(isAlive));
}, 120_000);

test.each([
  ["no JSON", "s3cret", /printed no JSON$/],
  ["another kind", `{"kind":"Secret"}`, /no ExecCredential$/],
  ["another version", `{"kind":"ExecCredential","apiVersion":"v2"}`, /answered in v2/],
  ["nothing in it", `{"kind":"ExecCredential","apiVersion":"${apiVersion}"}`, /neither a token nor/],
  [
    "a certificate alone",
    `{"kind":"ExecCredential","apiVersion":"${apiVersion}","status":{"clientCertificateData":"x"}}`,
    /without its key/,
  ],
  [
    "a bad time",
    `{"kind":"ExecCredential","apiVersion":"${apiVersion}","status":{"token":"x","expirationTimestamp":"soon"}}`,
    /no time$/,
  ],
])("what a plugin prints is checked: %s", (_, output, message) => {
  expect(() => parseExecCredential({ command: "p", apiVersion }, output)).toThrow(message);
});

test("in a pod, the service account says who we are", async () => {
  for (const [name, text] of [
    ["token", "abc"],
    ["ca.crt", "CA"],
    ["namespace", "shop\n"],
  ] as const) {
    await writeFile(join(dir, name), text);
  }
  const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
  const result = inClusterAccess(env, dir);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  expect(result.access).toMatchObject({ ca: "CA", namespace: "shop", insecureSkipTlsVerify: false });
  expect(result.access.server.href).toBe("https://[fd00::1]/");
  expect(await result.access.credentials.get(signal)).toEqual({ authorization: "Bearer abc" });
  await writeFile(join(dir, "ca.crt"), "CA2");
  expect(result.access.readCa?.()).toBe("CA2");
});

test("outside of a pod, all that is missing is named", () => {
  const result = inClusterAccess({}, join(dir, "nope"));
  expect(result.ok ? [] : result.problems.map(({ message }) => message)).toEqual([
    expect.stringContaining("KUBERNETES_SERVICE_HOST"),
    expect.stringMatching(/token: ENOENT/),
    expect.stringMatching(/ca\.crt: ENOENT/),
    expect.stringMatching(/namespace: ENOENT/),
  ]);
});

test("a plugin that can't be started for want of descriptors is a failure like another", async () => {
  const script = `
    import { closeSync, openSync } from "node:fs";
    import { execCredentials } from ${JSON.stringify(join(import.meta.dirname, "exec-credentials.ts"))};
    const credentials = execCredentials({ apiVersion: "v1", command: "true", args: [], env: {} });
    const open = [];
    try {
      for (;;) open.push(openSync("/dev/null"));
    } catch {}
    const { message } = await credentials.get().catch((error) => error);
    await new Promise(setImmediate);
    for (const descriptor of open) closeSync(descriptor);
    console.log(message);`;
  const limited = `ulimit -n 100; exec "$0" --input-type=module -e "$1"`;
  const { stdout, stderr } = await promisify(execFile)("sh", ["-c", limited, process.execPath, script]);
  expect(stderr).toBe("");
  expect(stdout).toBe("credential plugin true: failed (EMFILE)\n");
}, 120_000);
