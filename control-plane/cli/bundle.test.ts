import { mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { bundled, bundlesDirectory, manifestFile, sourcesNow } from "./bundle.ts";

const SOURCES = ["proxy/main.ts", "proxy/parts.ts"];
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "sluice-test-"));
  for (const file of SOURCES) write(file, "1");
  mkdirSync(bundlesDirectory(root), { recursive: true });
  const entries = { "proxy/main.ts": "main-1.mjs" };
  writeManifest(JSON.stringify({ directory: "d", entries, sources: sourcesNow(SOURCES, root) }));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(file: string, text: string): void {
  mkdirSync(dirname(join(root, file)), { recursive: true });
  writeFileSync(join(root, file), text);
}

const writeManifest = (text: string) => writeFileSync(manifestFile(root), text);

test("what programs begin with is taken from the bundle while all sources are as they were", () => {
  expect(bundled("proxy/main.ts", root)).toBe(join(bundlesDirectory(root), "d/main-1.mjs"));
  expect(bundled("proxy/parts.ts", root), "part of another file").toBeUndefined();
});

test("a tree that came by way of an archive, which keeps whole seconds, has its bundle", () => {
  for (const file of SOURCES) {
    const { mtimeMs } = statSync(join(root, file));
    utimesSync(join(root, file), Math.floor(mtimeMs / 1000), Math.floor(mtimeMs / 1000));
  }
  expect(bundled("proxy/main.ts", root)).toBeDefined();
});

test("sources that have changed, in size or time, or are gone, are what counts", () => {
  write("proxy/parts.ts", "22");
  expect(bundled("proxy/main.ts", root)).toBeUndefined();
  write("proxy/parts.ts", "2");
  utimesSync(join(root, "proxy/parts.ts"), 1, 1);
  expect(bundled("proxy/main.ts", root)).toBeUndefined();
  rmSync(join(root, "proxy/parts.ts"));
  expect(bundled("proxy/main.ts", root)).toBeUndefined();
});

test("without a manifest that can be read there is no bundle", () => {
  for (const text of ["", "null", "[]", '{"directory":"d"}', '{"directory":"d","sources":{}}']) {
    writeManifest(text);
    expect(bundled("proxy/main.ts", root), text).toBeUndefined();
  }
  rmSync(bundlesDirectory(root), { recursive: true });
  expect(bundled("proxy/main.ts", root)).toBeUndefined();
});
