import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";

import { answerBytes, type LoadCase, pathOf, SERVER_NAME } from "./cases.ts";
import { GRPC_HOST } from "./configs.ts";
import { grpcMessage } from "./grpc-message.ts";
import { portOf, type Target } from "./target.ts";

/** The certificates are of no authority that anyone knows. */
const UNCHECKED = { rejectUnauthorized: false } as const;

/** Asks once as the case does and throws if the answer is another than the upstream's: a fast wrong answer is no result. */
export async function verify(target: Target, load: LoadCase): Promise<void> {
  const problem = load.protocol === undefined ? await wrongHttp1(target, load) : await wrongHttp2(target, load);
  if (problem !== undefined) throw new Error(`${target.name}, ${load.id}: ${problem}`);
}

async function wrongHttp1(target: Target, load: LoadCase): Promise<string | undefined> {
  const options = {
    ...{ host: "127.0.0.1", port: portOf(target, load), servername: SERVER_NAME, ...UNCHECKED },
    method: load.bodyBytes > 0 ? "POST" : "GET",
    path: pathOf(3, load),
    headers: { host: SERVER_NAME, "content-length": String(load.bodyBytes) },
  };
  const request = load.tls === undefined ? http.request(options) : https.request(options);
  request.end("x".repeat(load.bodyBytes));
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let length = 0;
  for await (const chunk of response) length += (chunk as Buffer).length;
  if (response.statusCode !== 200) return `status ${response.statusCode}`;
  return length === answerBytes[load.answer] ? undefined : `a body of ${length} bytes`;
}

async function wrongHttp2(target: Target, load: LoadCase): Promise<string | undefined> {
  const grpc = load.protocol === "grpc";
  const authority = grpc ? GRPC_HOST : SERVER_NAME;
  const session = http2.connect(`https://127.0.0.1:${portOf(target, load)}`, { servername: authority, ...UNCHECKED });
  try {
    const stream = session.request({
      ":authority": authority,
      ":method": grpc ? "POST" : "GET",
      ":path": grpc ? "/bench.Echo/Call" : pathOf(3, load),
      ...(grpc && { "content-type": "application/grpc", te: "trailers" }),
    });
    let status: unknown;
    let grpcStatus: unknown;
    stream.on("response", (headers) => (status = headers[":status"]));
    stream.on("trailers", (headers) => (grpcStatus = headers["grpc-status"]));
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.end(grpc ? grpcMessage : undefined);
    // After "end", since trailers may come with it or behind it.
    await once(stream, "close");
    const body = Buffer.concat(chunks);
    if (status !== 200) return `status ${String(status)}`;
    if (!grpc) return body.length === answerBytes[load.answer] ? undefined : `a body of ${body.length} bytes`;
    if (grpcStatus !== "0") return `grpc-status ${String(grpcStatus)}`;
    return body.equals(grpcMessage) ? undefined : `another message: ${body.toString("hex")}`;
  } finally {
    session.destroy();
  }
}
