import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const ownRoot = join(import.meta.dirname, "../..");

/** Where deploy/bundle.ts puts the modules of our programs, made into few files: a directory for each state of the sources, and a manifest. */
export const bundlesDirectory = (root = ownRoot): string => join(root, "node_modules/.cache/sluice/bundle");

/** What is there, and what it was made from. */
export const manifestFile = (root = ownRoot): string => join(bundlesDirectory(root), "manifest.json");

/** The newest bundle. Source files are named by their paths from the root. */
export interface Manifest {
  /** Its name in {@link bundlesDirectory}. */
  readonly directory: string;
  /** What became of the modules that programs and threads begin with, and of those that are imported when they are needed. */
  readonly entries: Readonly<Record<string, string>>;
  readonly sources: Sources;
}

/** Of each source file its size in bytes, and when it last changed, in ms since 1970. */
export type Sources = Readonly<Record<string, readonly [size: number, modifiedMs: number]>>;

/** How source files are now. @throws where one is missing */
export const sourcesNow = (files: readonly string[], root = ownRoot): Sources =>
  Object.fromEntries(files.map((file) => [file, stateOf(join(root, file))]));

/**
 * The file to import in place of a source file; undefined: there is no bundle, or a source file has changed since it was made, and the sources are what is
 * to be loaded. Looking costs some microseconds for each of a few hundred files; loading them costs a hundred times as much.
 */
export function bundled(entry: string, root = ownRoot): string | undefined {
  try {
    const { directory, entries, sources } = readManifest(root);
    const file = entries[entry];
    if (file === undefined) return undefined;
    for (const [source, [size, modifiedMs]] of Object.entries(sources)) {
      const [sizeNow, modifiedMsNow] = stateOf(join(root, source));
      // Archives and images of containers keep whole seconds.
      const isSame = modifiedMsNow === modifiedMs || modifiedMsNow === modifiedMs - (modifiedMs % 1000);
      if (size !== sizeNow || !isSame) return undefined;
    }
    return join(bundlesDirectory(root), directory, file);
  } catch {
    // No manifest, or one of another version of this file, or a source file that is gone.
    return undefined;
  }
}

/** What was made last. @throws where nothing was */
export const readManifest = (root = ownRoot): Manifest =>
  JSON.parse(readFileSync(manifestFile(root), "utf8")) as Manifest;

function stateOf(path: string): readonly [size: number, modifiedMs: number] {
  const { size, mtimeMs } = statSync(path);
  return [size, mtimeMs];
}
