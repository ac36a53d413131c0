/** The repository tests itself: who imports whom, and what nobody may call. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..");

/**
 * Who may import whom; a type-only import counts. The longest key that a file's path starts with decides; the value lists what it may
 * import besides its own folder and proto/. `main` files join the parts.
 */
const mayImport: Record<string, readonly string[]> = {
  "proto/": [],
  "discovery/": [],
  "proxy/": ["proxy/"],
  "control-plane/main.ts": ["control-plane/", "discovery/"],
  "control-plane/refresh.ts": [
    "control-plane/store/",
    "control-plane/endpoints/",
    "control-plane/translate/",
    "control-plane/xds/",
    "control-plane/model/",
  ],
  "control-plane/recent-clusters.ts": ["control-plane/store/", "control-plane/translate/", "control-plane/model/"],
  "control-plane/rollout/": [
    "control-plane/peers/",
    "control-plane/xds/",
    "control-plane/store/",
    "control-plane/model/",
    "control-plane/observe/",
  ],
  "control-plane/endpoints/": ["discovery/", "control-plane/model/"],
  "control-plane/admin/": [
    "control-plane/endpoints/",
    "control-plane/model/",
    "control-plane/store/",
    "control-plane/plugins/",
    "control-plane/xds/status.ts",
    // What data planes report, the state of their resources included.
    "control-plane/xds/connected-clients.ts",
    "control-plane/reports/",
    "control-plane/rollout/",
    "control-plane/peers/",
    "control-plane/observe/",
    // Its watches are in discovery, what they watch is reported to the admin API.
    "discovery/leases/",
  ],
  "control-plane/store/": ["control-plane/model/"],
  "control-plane/translate/": ["control-plane/plugins/", "control-plane/model/"],
  // Its services are offered on the xDS port, by the rules of joining and by what is served there.
  "control-plane/reports/": ["control-plane/observe/", "control-plane/xds/"],
  // The schema that reflection shows is the same on both ports.
  "control-plane/xds/": ["control-plane/observe/", "control-plane/admin/reflection.ts", "control-plane/admin/sniff.ts"],
  "control-plane/": [],
  "control-plane/cli/": [],
  // `sluice control-plane` and `sluice proxy` start the programs; the commands of the CLI itself are clients of the admin API.
  "control-plane/cli/programs.ts": ["control-plane/main.ts", "proxy/main.ts"],
  "test/": ["control-plane/", "proxy/", "discovery/", "test/"],
};

const files = globSync("{proto,discovery,control-plane,proxy,test}/**/*.ts", { cwd: root }).filter(
  (file) => !file.startsWith("proto/gen/"),
);

/** Paths, from the root, of the project's own files that a file imports. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  const found: string[] = [];
  for (const [, specifier] of text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
    if (specifier === undefined) continue;
    if (specifier.startsWith(".")) found.push(relative(root, join(root, dirname(file), specifier)));
    else if (specifier.startsWith("#")) found.push("proto/");
  }
  return found;
}

const ruleOf = (file: string) =>
  Object.keys(mayImport)
    .filter((prefix) => file.startsWith(prefix))
    .sort((a, b) => b.length - a.length)[0] ?? "";

test("every file imports only what its folder may", () => {
  const wrong: string[] = [];
  for (const file of files) {
    if (file.endsWith(".test.ts") && !file.startsWith("test/")) continue; // Tests may join what they test.
    const rule = ruleOf(file);
    const own = `${file
      .split("/")
      .slice(0, file.startsWith("control-plane/") ? 2 : 1)
      .join("/")}/`;
    for (const imported of importsOf(file)) {
      const allowed = ["proto/", own, ...(mayImport[rule] ?? [])];
      if (!allowed.some((prefix) => imported.startsWith(prefix))) wrong.push(`${file} imports ${imported}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("nothing but tests imports a file that no program uses", () => {
  const used = new Set(files.flatMap((file) => (file.endsWith(".test.ts") ? [] : importsOf(file))));
  // Programs start here.
  const entries = /(^|\/)(main|worker|socket-mirror|generate|vitest\.config)\.ts$|^test\/|\/testing\//;
  const dead = files.filter((file) => !file.endsWith(".test.ts") && !entries.test(file) && !used.has(file));
  // proto/ is for everybody, and named through "#proto/".
  expect(dead.filter((file) => !file.startsWith("proto/"))).toEqual([]);
});

/** Each banned text with what to use instead. */
const banned: readonly [RegExp, string][] = [
  [/\bas any\b/, "a type"],
  [/@ts-ignore|@ts-nocheck/, "@ts-expect-error with the reason, or better a type"],
  [/\b(test|it|describe)\.(skip|only)\(/, "a test that runs"],
  [/\bnew Buffer\(/, "Buffer.from or Buffer.alloc"],
  // They give up after a second, which a busy machine needs for itself.
  [/\bvi\.wait(For|Until)\(/, "waitFor of test/support/wait.ts"],
  // The others reject meanwhile, and nobody has asked them yet: the process is told of an unhandled rejection.
  [/\bexpect\(\w+\[\w+\]\)\.rejects\b/, "one after the other, or Promise.allSettled"],
];

test("no file uses what is banned", () => {
  const wrong: string[] = [];
  for (const file of files) {
    if (file === "test/tidy.test.ts") continue;
    readFileSync(join(root, file), "utf8")
      .split("\n")
      .forEach((line, at) => {
        for (const [pattern, instead] of banned) {
          if (pattern.test(line)) wrong.push(`${file}:${at + 1}: use ${instead}: ${line.trim()}`);
        }
      });
  }
  expect(wrong).toEqual([]);
});
