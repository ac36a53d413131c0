/**
 * Makes few files of the modules of our programs, libraries included: loading some 640 modules was most of the time in which a program with little to do
 * starts. Programs take the bundle for as long as all that it was made from is as it was, and the sources otherwise (control-plane/cli/bundle.ts), so that
 * nothing depends on it.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

import {
  bundled,
  bundlesDirectory,
  type Manifest,
  manifestFile,
  readManifest,
  sourcesNow,
} from "../control-plane/cli/bundle.ts";

const root = join(import.meta.dirname, "..");
const bundles = bundlesDirectory();

/** Where programs and threads begin. What they load when it is needed becomes files of its own, as does what several of them share. */
const entries = { run: "control-plane/cli/run.ts", worker: "proxy/worker.ts" };

/** All of the generated code is made at once, by a program that leaves this file. */
const GENERATED = "proto/gen/";
const generatedStamp = "proto/gen/.inputs";

/** What a bundle depends on besides: how it is made, and the libraries in it. */
const MADE_BY = ["deploy/bundle.ts", "control-plane/cli/bundle.ts", "package-lock.json"];

/** Makes the bundle, unless there is one of the present sources; false: there was nothing to do. @throws where the bundler is not installed, or fails */
export async function makeBundle(): Promise<boolean> {
  if (bundled(entries.run) !== undefined) return false;
  const { rolldown } = await import("rolldown");
  const former = existsSync(manifestFile()) ? readManifest().directory : undefined;
  const made = await rolldown({
    cwd: root,
    input: entries,
    platform: "node",
    // Looked for by pg, which does without.
    external: ["pg-native"],
    transform: { define: { __dirname: "import.meta.dirname", __filename: "import.meta.filename" } },
    plugins: [
      {
        name: "builtin-modules",
        resolveId: {
          filter: { id: /^node:/ },
          handler: (id, _, { kind }) => (kind === "require-call" ? undefined : `\0${id}`),
        },
        load: { filter: { id: /^\0node:/ }, handler: (id) => builtin(id.slice(1)) },
      },
      {
        name: "own-directories",
        // What lies beside a module of ours is found where it is, as seen from a bundle's directory.
        transform: {
          filter: { id: /\.ts$/, code: /import\.meta\.dirname/ },
          handler: (code, id) => {
            const from = JSON.stringify(`/${relative(join(bundles, "any"), dirname(id))}`);
            return code.replaceAll("import.meta.dirname", `(import.meta.dirname + ${from})`);
          },
        },
      },
    ],
  });
  const { output } = await made.generate({
    format: "esm",
    // One character beyond Latin-1 would make V8 keep all of a file's text in two bytes each.
    charset: "ascii",
    // A thread is started by the name of its source file (proxy/worker-thread.ts).
    entryFileNames: "[name].mjs",
    chunkFileNames: "[name]-[hash].mjs",
  });
  await made.close();
  const chunks = output.filter((file) => file.type === "chunk");
  const directory = directoryOf(chunks);
  mkdirSync(join(bundles, directory), { recursive: true });
  for (const { fileName, code } of chunks) writeFileSync(join(bundles, directory, fileName), code);

  const own = chunks
    .flatMap(({ moduleIds }) => moduleIds)
    .filter(isOwn)
    .map(fromRoot);
  const sources = new Set(own.map((file) => (file.startsWith(GENERATED) ? generatedStamp : file)));
  for (const file of MADE_BY) sources.add(file);
  const manifest: Manifest = {
    directory,
    entries: Object.fromEntries(
      chunks.flatMap(({ facadeModuleId: id, fileName }) =>
        id !== null && isOwn(id) ? [[fromRoot(id), fileName]] : [],
      ),
    ),
    sources: sourcesNow([...sources].sort()),
  };
  // Read by programs that start just now.
  writeFileSync(`${manifestFile()}.new`, JSON.stringify(manifest));
  renameSync(`${manifestFile()}.new`, manifestFile());
  // Programs that run from the one before may still ask for what they have not needed so far.
  removeOthers([directory, former]);
  return true;
}

const fromRoot = (id: string) => relative(root, id);

/** Whether a module is neither a library's nor made up by the bundler. */
const isOwn = (id: string) => /^(control-plane|discovery|proto|proxy)\//.test(fromRoot(id));

/**
 * A module of Node's own, without what an import of it costs: that reads all that it exports, by which `node:http` loads a whole HTTP client, for the sake
 * of WebSocket.
 */
function builtin(id: string): { code: string; moduleSideEffects: false } {
  const names = Object.keys(Object.getOwnPropertyDescriptors(process.getBuiltinModule(id) ?? {})).filter(
    (name) => /^[A-Za-z_$][\w$]*$/.test(name) && name !== "default",
  );
  const code = [
    `const builtin = /*#__PURE__*/ process.getBuiltinModule(${JSON.stringify(id)});`,
    "export default builtin;",
    ...names.map(
      (name) => `const ${name}_ = /*#__PURE__*/ (() => builtin.${name})();\nexport { ${name}_ as ${name} };`,
    ),
  ];
  return { code: code.join("\n"), moduleSideEffects: false };
}

/** A name that tells the content. */
function directoryOf(chunks: readonly { readonly fileName: string; readonly code: string }[]): string {
  const hash = createHash("sha256");
  for (const { fileName, code } of chunks) hash.update(fileName).update("\0").update(code).update("\0");
  return hash.digest("hex").slice(0, 16);
}

function removeOthers(kept: readonly (string | undefined)[]): void {
  for (const entry of readdirSync(bundles, { withFileTypes: true })) {
    if (entry.isDirectory() && !kept.includes(entry.name)) rmSync(join(bundles, entry.name), { recursive: true });
  }
}
