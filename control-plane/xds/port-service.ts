import { create, type DescMethod, type DescService, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ServiceDefinition, UntypedServiceImplementation } from "@grpc/grpc-js";

/** A service besides discovery that the xDS port offers; its methods are those of `service` that `handlers` names. */
export interface PortService {
  readonly service: DescService;
  /** By the methods' local names. */
  readonly handlers: UntypedServiceImplementation;
  /** Ends the streams that are open, as the server ends. */
  close?(): void;
}

/** Methods as grpc-js wants them, with their messages decoded; what handlers answer may leave out fields. */
export function typedMethods(methods: readonly DescMethod[]): ServiceDefinition {
  return Object.fromEntries(
    methods.map((method) => [
      method.localName,
      {
        path: `/${method.parent.typeName}/${method.name}`,
        requestStream: method.methodKind === "bidi_streaming" || method.methodKind === "client_streaming",
        responseStream: method.methodKind === "bidi_streaming" || method.methodKind === "server_streaming",
        requestSerialize: (message: Record<string, unknown>) =>
          Buffer.from(toBinary(method.input, create(method.input, message))),
        requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
        responseSerialize: (message: Record<string, unknown>) =>
          Buffer.from(toBinary(method.output, create(method.output, message))),
        responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
      },
    ]),
  );
}
