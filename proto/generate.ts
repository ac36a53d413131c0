/**
 * Generates proto/gen: our own messages and Envoy's, as TypeScript. Run by `npm run prepare`; does nothing when nothing changed.
 *
 * Envoy's .proto files lie in the npm package @grpc/grpc-js-xds, but don't compile as they lie there, so they are staged first.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const root = join(import.meta.dirname, "..");
const gen = join(root, "proto/gen");
const stamp = join(gen, ".inputs");
const staging = join(root, "node_modules/.cache/sluice/proto");

const require = createRequire(import.meta.url);
const version = (name: string) => (require(`${name}/package.json`) as { version: string }).version;

/** Everything the output depends on, as one hash. */
function inputs(): string {
  const hash = createHash("sha256");
  for (const file of globSync("{sluice,buf,grpc,nacos,opentelemetry}/**/*.proto", {
    cwd: join(root, "proto"),
  }).sort()) {
    hash.update(file).update(readFileSync(join(root, "proto", file)));
  }
  hash.update(readFileSync(import.meta.filename));
  for (const name of ["@grpc/grpc-js-xds", "@bufbuild/protoc-gen-es"]) hash.update(version(name));
  return hash.digest("hex");
}

/** What other .proto files can't be compiled without, and nobody ships beside them: telemetry formats that we don't speak. */
const importsNobodyShips = /^import (public )?"(opencensus|opentelemetry|prometheus|metrics\.proto|io\/prometheus)/m;

function stage(): void {
  const deps = join(dirname(require.resolve("@grpc/grpc-js-xds/package.json")), "deps");
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const parts = [
    ["envoy-api/envoy", "envoy"],
    ["xds/xds", "xds"],
    ["xds/udpa", "udpa"],
    ["protoc-gen-validate/validate", "validate"],
    ["googleapis/google/api/annotations.proto", "google/api/annotations.proto"],
    ["googleapis/google/api/http.proto", "google/api/http.proto"],
    ["googleapis/google/api/expr", "google/api/expr"],
    ["googleapis/google/rpc", "google/rpc"],
  ] as const;
  for (const [from, to] of parts) {
    cpSync(join(deps, from), join(staging, to), {
      recursive: true,
      // The v2 API is gone from every Envoy that we support.
      filter: (path) => !/\/v2(alpha\d*)?$/.test(path) && !path.endsWith("/google/rpc/context"),
    });
  }

  const validate = join(staging, "validate/validate.proto");
  const original = readFileSync(validate, "utf8");
  // protocol.proto uses StringRules.ignore_empty, which this copy of validate.proto lacks.
  const corrected = original.replace(
    "optional bool strict = 25 [default = true];",
    "optional bool strict = 25 [default = true];\n  optional bool ignore_empty = 26;",
  );
  if (corrected === original)
    throw new Error(`${validate}: StringRules.strict was not found; the staging needs a look`);
  writeFileSync(validate, corrected);

  const files = globSync("**/*.proto", { cwd: staging });
  const imports = new Map(files.map((file) => [file, readFileSync(join(staging, file), "utf8")]));
  const dropped = new Set(files.filter((file) => importsNobodyShips.test(imports.get(file) ?? "")));
  for (let before = -1; before !== dropped.size; ) {
    before = dropped.size;
    for (const [file, text] of imports) {
      for (const [, path] of text.matchAll(/^import (?:public )?"([^"]+)"/gm)) {
        if (path !== undefined && dropped.has(path)) dropped.add(file);
      }
    }
  }
  for (const file of dropped) rmSync(join(staging, file));
}

function generate(): void {
  const out = `${gen}.new`;
  rmSync(out, { recursive: true, force: true });
  const template = JSON.stringify({
    version: "v2",
    plugins: [
      {
        local: "protoc-gen-es",
        out,
        // One run of the plugin for everything: a run per folder takes 30 times as long.
        strategy: "all",
        opt: ["target=ts", "import_extension=ts", "erasable_syntax=true"],
      },
    ],
  });
  for (const input of [staging, join(root, "proto")]) {
    execFileSync("buf", ["generate", input, "--template", template], { cwd: root, stdio: "inherit" });
  }
  for (const file of globSync("**/*_pb.ts", { cwd: out })) {
    useEmbeddedFile(out, file);
    // Of our own messages people want to read in their editors.
    if (!file.startsWith("sluice/")) dropComments(out, file);
  }
  writeFileSync(join(out, ".inputs"), inputs());
  rmSync(gen, { recursive: true, force: true });
  renameSync(out, gen);
}

/** Lets a generated file take the functions that it describes itself with from proto/embedded-file.ts, which tells why. */
function useEmbeddedFile(out: string, file: string): void {
  const from = `import { $1 } from "${"../".repeat(file.split("/").length)}embedded-file.ts";`;
  const text = readFileSync(join(out, file), "utf8");
  const changed = text.replace(/^import \{ (.*) \} from "@bufbuild\/protobuf\/codegenv2";$/m, from);
  if (changed === text) throw new Error(`${file}: imports nothing of codegenv2; the generator has changed`);
  writeFileSync(join(out, file), changed);
}

/**
 * Takes the documentation out of a generated file. V8 keeps the text of each module for as long as it runs, in each thread; Envoy's words were more than
 * half of it, some of them in characters of two bytes, by which all of their file had two.
 */
function dropComments(out: string, file: string): void {
  const text = readFileSync(join(out, file), "utf8");
  writeFileSync(join(out, file), text.replace(/^[ \t]*\/\*\*(?:[^*]|\*(?!\/))*\*\/\n/gm, ""));
}

if (process.argv.includes("--force") || !existsSync(stamp) || readFileSync(stamp, "utf8") !== inputs()) {
  stage();
  generate();
}
