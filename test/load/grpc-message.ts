/** A small message as gRPC frames it: no compression, its length, its bytes. It is request and response of the benchmark's calls. */
export const grpcMessage: Buffer = Buffer.from("\0\0\0\0\x0c\x0a\x0ahellohello", "latin1");
