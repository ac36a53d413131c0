/** What ALPN may come to: the protocols that listen/codec.ts has a codec for. */
export const applicationProtocols: readonly string[] = ["h2", "http/1.1", "http/1.0"];
