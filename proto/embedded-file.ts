/** What generated code (proto/gen) takes from @bufbuild/protobuf, which is all here as it is but for `fileDesc`. */
import type { DescFile } from "@bufbuild/protobuf";
import * as codegen from "@bufbuild/protobuf/codegenv2";

export { enumDesc, extDesc, messageDesc, serviceDesc } from "@bufbuild/protobuf/codegenv2";

/**
 * Describes a .proto file by its embedded descriptor and the files that it imports.
 *
 * The library's own function collects the types of all files that can be reached by imports, each as often as there are ways to it, for every
 * file again. Envoy's files import each other so much that this was half of the time that our programs took to load. A file can only name
 * types of the files that it imports, and of those that these import publicly (protobuf.dev: "Importing Definitions"), so it is shown no more.
 */
export function fileDesc(base64: string, imports: readonly DescFile[] = []): DescFile {
  const file = codegen.fileDesc(base64, imports.map(withPublicImports));
  // Who walks the imports from here on finds the files themselves.
  return Object.assign(file, { dependencies: imports });
}

const withPublicImports = (file: DescFile): DescFile => ({
  ...file,
  dependencies: file.proto.publicDependency.flatMap((index) => file.dependencies[index] ?? []).map(withPublicImports),
});
