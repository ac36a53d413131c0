/**
 * An API server as a script: it keeps Services and EndpointSlices in memory, answers lists and watches by the rules, and does at a test's
 * word what real ones do rarely: lose a version, end in the middle of a line, go silent.
 */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";

import type { ClusterAccess, Credentials } from "../../discovery/kubernetes/access.ts";
import { fixedCredential } from "../../discovery/kubernetes/credentials.ts";

/** An object with as much metadata as the script needs. */
interface ScriptObject {
  metadata: { name: string; namespace: string; resourceVersion?: string; labels?: Record<string, string> };
}

/** A request that came, and the way to answer it. */
export interface ScriptRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  readonly stream: http2.ServerHttp2Stream;
}

type Kind = "services" | "endpointslices";

/** A scripted API server on a free port. */
export class KubeScript {
  /** All requests so far: path and query. */
  readonly requests: { path: string; query: URLSearchParams }[] = [];
  /** Whether it takes `sendInitialEvents`. */
  streamsLists = true;
  /** Looks at each request first; true: it answered by itself. */
  intercept: (request: ScriptRequest) => boolean = () => false;
  readonly #server: http2.Http2SecureServer;
  readonly #ca: string;
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #objects: Record<Kind, Map<string, ScriptObject>> = { services: new Map(), endpointslices: new Map() };
  readonly #watches: Record<Kind, Set<http2.ServerHttp2Stream>> = { services: new Set(), endpointslices: new Set() };
  #version = 100;

  private constructor(server: http2.Http2SecureServer, ca: string) {
    this.#server = server;
    this.#ca = ca;
    server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session)).on("error", () => {});
    });
    server.on("stream", (stream, headers) => {
      stream.on("error", () => {});
      const url = new URL(String(headers[":path"]), "https://script");
      this.requests.push({ path: url.pathname, query: url.searchParams });
      const { authorization } = headers;
      const request = { path: url.pathname, query: url.searchParams, authorization, stream };
      if (!this.intercept(request)) this.#answer(request);
    });
  }

  static async start(): Promise<KubeScript> {
    const { key, cert } = selfSigned();
    const server = http2.createSecureServer({ key, cert });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new KubeScript(server, cert);
  }

  access(credentials: Credentials = fixedCredential({ authorization: "Bearer good" })): ClusterAccess {
    const { port } = this.#server.address() as AddressInfo;
    return {
      server: new URL(`https://127.0.0.1:${port}`),
      ca: this.#ca,
      insecureSkipTlsVerify: false,
      credentials,
      namespace: "default",
    };
  }

  /** Puts an object in place, and tells the watches unless `silent`. */
  put(kind: Kind, object: ScriptObject, silent = false): void {
    const id = `${object.metadata.namespace}/${object.metadata.name}`;
    const type = this.#objects[kind].has(id) ? "MODIFIED" : "ADDED";
    object.metadata.resourceVersion = String(++this.#version);
    this.#objects[kind].set(id, object);
    if (!silent) this.send(kind, { type, object });
  }

  /** Takes an object away, and tells the watches unless `silent`. */
  delete(kind: Kind, namespace: string, name: string, silent = false): void {
    const object = this.#objects[kind].get(`${namespace}/${name}`);
    if (object === undefined) throw new Error(`no ${kind} ${name}`);
    this.#objects[kind].delete(`${namespace}/${name}`);
    object.metadata.resourceVersion = String(++this.#version);
    if (!silent) this.send(kind, { type: "DELETED", object });
  }

  /** Sends an event, or text as it is, to all watches of a kind. */
  send(kind: Kind, event: object | string): void {
    for (const stream of this.#watches[kind]) {
      stream.write(typeof event === "string" ? event : `${JSON.stringify(event)}\n`);
    }
  }

  /** Ends all watches of a kind, as a server does after timeoutSeconds. */
  endWatches(kind: Kind): void {
    for (const stream of this.#watches[kind]) stream.end();
    this.#watches[kind].clear();
  }

  /** How many watches of a kind are open. */
  watching(kind: Kind): number {
    return this.#watches[kind].size;
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#sessions.size;
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #answer({ path, query, stream }: ScriptRequest): void {
    const kind = /\/(services|endpointslices)$/.exec(path)?.[1] as Kind | undefined;
    if (path === "/version") return reply(stream, 200, { gitVersion: "v1.0.0-script" });
    if (path === "/api/v1/namespaces/kube-system") return reply(stream, 200, { metadata: { uid: "script" } });
    if (kind === undefined) return replyStatus(stream, 404, "the server could not find the requested resource");
    const objects = [...this.#objects[kind].values()];
    if (query.get("watch") !== "1") {
      const from = Number(query.get("continue") ?? 0);
      const limit = Number(query.get("limit") ?? Number.POSITIVE_INFINITY);
      const more = from + limit < objects.length ? { continue: String(from + limit) } : {};
      const metadata = { resourceVersion: String(this.#version), ...more };
      return reply(stream, 200, { metadata, items: objects.slice(from, from + limit) });
    }
    const streaming = query.has("sendInitialEvents");
    if (streaming && !this.streamsLists) return replyStatus(stream, 422, "sendInitialEvents is forbidden");
    stream.respond({ ":status": 200, "content-type": "application/json" });
    this.#watches[kind].add(stream);
    stream.once("close", () => this.#watches[kind].delete(stream));
    if (!streaming) return;
    for (const object of objects) stream.write(`${JSON.stringify({ type: "ADDED", object })}\n`);
    const metadata = {
      resourceVersion: String(this.#version),
      annotations: { "k8s.io/initial-events-end": "true" },
    };
    stream.write(`${JSON.stringify({ type: "BOOKMARK", object: { metadata } })}\n`);
  }
}

/** Answers with a JSON object. */
export function reply(stream: http2.ServerHttp2Stream, status: number, body: object): void {
  stream.respond({ ":status": status, "content-type": "application/json" });
  stream.end(JSON.stringify(body));
}

/** Answers with a Status object, as API servers do for failures. */
export const replyStatus = (stream: http2.ServerHttp2Stream, code: number, message: string) =>
  reply(stream, code, { kind: "Status", status: "Failure", reason: "Scripted", message, code });

/** A slice with one address per endpoint. */
export const sliceOf = (service: string, name: string, ...addresses: string[]) => ({
  metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": service } },
  addressType: "IPv4",
  ports: [{ name: "http", port: 8080 }],
  endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
});

/** A Service with one port. */
export const serviceOf = (name: string) => ({
  metadata: { name, namespace: "default" },
  spec: { ports: [{ name: "http", port: 80 }] },
});

function selfSigned(): { key: string; cert: string } {
  const args = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout - -out - -batch";
  const subject = ["-subj", "/CN=script", "-addext", "subjectAltName=IP:127.0.0.1"];
  const pem = execFileSync("openssl", [...args.split(" "), ...subject], { stdio: ["ignore", "pipe", "ignore"] });
  const text = pem.toString();
  const at = text.indexOf("-----BEGIN CERTIFICATE");
  return { key: text.slice(0, at), cert: text.slice(at) };
}
