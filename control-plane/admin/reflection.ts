/** gRPC reflection, versions v1 and v1alpha (grpc/grpc-proto, grpc/reflection), so that grpcurl works without .proto files. */
import { type DescFile, type DescMessage, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";

/** What a client asks; v1 and v1alpha have the same messages. */
interface ReflectionRequest {
  readonly host: string;
  readonly messageRequest:
    | { readonly case: "fileByFilename" | "fileContainingSymbol"; readonly value: string }
    | { readonly case: "allExtensionNumbersOfType" | "listServices"; readonly value: string }
    | {
        readonly case: "fileContainingExtension";
        readonly value: { readonly containingType: string; readonly extensionNumber: number };
      }
    | { readonly case: undefined; readonly value?: undefined };
}

const notFoundCode: number = Code.NotFound;
const invalidArgumentCode: number = Code.InvalidArgument;

/** The schema that reflection shows: the services with all that their files import. */
export class Reflection {
  readonly #services: readonly string[];
  /** By name, as in "sluice/admin/v1/common.proto". */
  readonly #files = new Map<string, DescFile>();
  /** By full name: services, methods, messages, fields, enums, extensions. */
  readonly #symbols = new Map<string, DescFile>();
  /** By the extended message's full name: number -> file. */
  readonly #extensions = new Map<string, Map<number, DescFile>>();

  /** @param more messages that travel in an Any, so that clients can read them too */
  constructor(services: readonly DescService[], more: readonly DescMessage[] = []) {
    this.#services = services.map(({ typeName }) => typeName).sort();
    for (const { file } of [...services, ...more]) this.#addFile(file);
  }

  /** Answers one request; what isn't there is an error inside the answer, as the protocol wants it. */
  answer(request: ReflectionRequest) {
    return { validHost: request.host, originalRequest: request, messageResponse: this.#respond(request) };
  }

  #respond({ messageRequest: asked }: ReflectionRequest) {
    switch (asked.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: this.#services.map((name) => ({ name })) },
        } as const;
      case "fileByFilename":
        return found(this.#files.get(asked.value), `file ${asked.value}`);
      case "fileContainingSymbol":
        return found(this.#symbols.get(asked.value), `symbol ${asked.value}`);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = asked.value;
        const file = this.#extensions.get(containingType)?.get(extensionNumber);
        return found(file, `extension ${extensionNumber} of ${containingType}`);
      }
      case "allExtensionNumbersOfType":
        if (!this.#symbols.has(asked.value)) return failure(notFoundCode, `there is no message ${asked.value}`);
        return {
          case: "allExtensionNumbersResponse",
          value: {
            baseTypeName: asked.value,
            extensionNumber: [...(this.#extensions.get(asked.value)?.keys() ?? [])].sort((a, b) => a - b),
          },
        } as const;
      default:
        return failure(invalidArgumentCode, "the request asks for nothing");
    }
  }

  #addFile(file: DescFile): void {
    if (this.#files.has(file.proto.name)) return;
    this.#files.set(file.proto.name, file);
    for (const service of file.services) {
      this.#symbols.set(service.typeName, file);
      for (const method of service.methods) this.#symbols.set(`${service.typeName}.${method.name}`, file);
    }
    for (const type of nestedTypes(file)) {
      this.#symbols.set(type.typeName, file);
      if (type.kind === "message") this.#addFields(type, file);
      if (type.kind !== "extension") continue;
      const numbers = this.#extensions.get(type.extendee.typeName) ?? new Map<number, DescFile>();
      this.#extensions.set(type.extendee.typeName, numbers.set(type.number, file));
    }
    for (const dependency of file.dependencies) this.#addFile(dependency);
  }

  #addFields(message: DescMessage, file: DescFile): void {
    for (const field of message.fields) this.#symbols.set(`${message.typeName}.${field.name}`, file);
  }
}

function found(file: DescFile | undefined, what: string) {
  if (file === undefined) return failure(notFoundCode, `there is no ${what}`);
  const files = withImports(file).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto: files } } as const;
}

/** The file first, then all that it imports, each once. */
function withImports(file: DescFile, seen = new Set<DescFile>()): DescFile[] {
  if (!seen.has(file)) {
    seen.add(file);
    for (const dependency of file.dependencies) withImports(dependency, seen);
  }
  return [...seen];
}

const failure = (errorCode: number, errorMessage: string) =>
  ({ case: "errorResponse", value: { errorCode, errorMessage } }) as const;
