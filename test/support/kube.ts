import { createSign, generateKeyPairSync, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Agent, request } from "undici";

import type { ClusterAccess, Credentials } from "../../discovery/kubernetes/access.ts";
import { kube } from "./kube-install.ts";
import { freePort } from "./ports.ts";
import { Program } from "./processes.ts";
import { waitFor } from "./wait.ts";

/** Of the user who may do everything. */
const ADMIN_TOKEN = "admin-token";
const ISSUER = "https://kubernetes.default.svc";

/** A real etcd and kube-apiserver on loopback, with RBAC. There are no controllers: tests write EndpointSlices themselves. */
export class Kube {
  readonly #folder: string;
  readonly #dir: string;
  readonly #ports: { api: number; etcd: number; peer: number };
  readonly #key: string;
  #etcd: Program | undefined;
  #api: Program | undefined;
  #agent: Agent | undefined;

  private constructor(folder: string, dir: string, ports: { api: number; etcd: number; peer: number }, key: string) {
    this.#folder = folder;
    this.#dir = dir;
    this.#ports = ports;
    this.#key = key;
  }

  static async start(): Promise<Kube> {
    const folder = await kube();
    const dir = await mkdtemp(join(tmpdir(), "sluice-kube-"));
    const ports = { api: await freePort(), etcd: await freePort(), peer: await freePort() };
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const key = privateKey.export({ type: "pkcs1", format: "pem" }).toString();
    await writeFile(join(dir, "sa.key"), key);
    await writeFile(join(dir, "tokens.csv"), `${ADMIN_TOKEN},admin,admin,"system:masters"\n`);
    const made = new Kube(folder, dir, ports, key);
    try {
      await made.restart();
    } catch (error) {
      await made.stop();
      throw error;
    }
    return made;
  }

  /** What a source needs, with these credentials. */
  access(credentials: Credentials): ClusterAccess {
    return {
      server: new URL(`https://127.0.0.1:${this.#ports.api}`),
      ca: this.#ca,
      insecureSkipTlsVerify: false,
      credentials,
      namespace: "default",
    };
  }

  /** Writes a kubeconfig, as kubectl reads it, in the place of the one before. @param token default: the admin's @returns its path */
  async kubeconfig(token = ADMIN_TOKEN): Promise<string> {
    const path = join(this.#dir, "kubeconfig");
    const cluster = { server: `https://127.0.0.1:${this.#ports.api}`, "certificate-authority": "certs/apiserver.crt" };
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "peer",
      contexts: [{ name: "peer", context: { cluster: "peer", user: "admin" } }],
      clusters: [{ name: "peer", cluster }],
      users: [{ name: "admin", user: { token } }],
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }

  /** Starts what does not run, on the same ports with the same data. */
  async restart(): Promise<void> {
    const { api, etcd, peer } = this.#ports;
    const at = (port: number) => `http://127.0.0.1:${port}`;
    if (this.#etcd === undefined || this.#etcd.exited) {
      this.#etcd = new Program(join(this.#folder, "etcd"), [
        ...["--name", "peer", "--data-dir", join(this.#dir, "etcd"), "--log-level", "error"],
        ...["--listen-client-urls", at(etcd), "--advertise-client-urls", at(etcd)],
        ...["--listen-peer-urls", at(peer), "--initial-advertise-peer-urls", at(peer)],
        ...["--initial-cluster", `peer=${at(peer)}`],
      ]);
    }
    if (this.#api === undefined || this.#api.exited) {
      this.#api = new Program(join(this.#folder, "kube-apiserver"), [
        ...["--etcd-servers", at(etcd), "--bind-address", "127.0.0.1", "--secure-port", String(api)],
        ...["--cert-dir", join(this.#dir, "certs"), "--authorization-mode", "RBAC"],
        ...["--token-auth-file", join(this.#dir, "tokens.csv"), "--service-account-issuer", ISSUER],
        ...["--service-account-key-file", join(this.#dir, "sa.key")],
        ...["--service-account-signing-key-file", join(this.#dir, "sa.key")],
        ...["--service-cluster-ip-range", "10.96.0.0/16", "--endpoint-reconciler-type", "none"],
        ...["--disable-admission-plugins", "ServiceAccount", "--profiling=false", "-v", "0"],
      ]);
    }
    const api2 = this.#api;
    const up = await waitFor(
      "kube-apiserver to be ready",
      async () => (api2.exited ? "ended" : (await this.#send("GET", "/readyz")).text === "ok" && "up"),
      120_000,
    );
    if (up === "ended") throw new Error(`kube-apiserver ended: ${api2.stderr.slice(-2_000)}`);
    // One that has lost all makes it anew some time after it is ready.
    await waitFor("the namespace", async () => (await this.#send("GET", "/api/v1/namespaces/default")).status === 200);
  }

  /** Calls the API as the admin. @returns the answer's object */
  async call<T>(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: object): Promise<T> {
    const { status, text } = await this.#send(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
    return JSON.parse(text) as T;
  }

  /** Puts a slice in place, whether it is there or not. */
  async putSlice(namespace: string, slice: { metadata: { name: string } }): Promise<void> {
    const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
    const { status } = await this.#send("PUT", `${path}/${slice.metadata.name}`, slice);
    if (status === 404) await this.call("POST", path, slice);
    else if (status >= 300) throw new Error(`PUT ${path}: ${status}`);
  }

  async deleteSlice(namespace: string, name: string): Promise<void> {
    await this.call("DELETE", `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices/${name}`);
  }

  /** Makes a service account. */
  async addServiceAccount(namespace: string, name: string): Promise<{ namespace: string; name: string; uid: string }> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    const { metadata } = await this.call<{ metadata: { uid: string } }>("POST", path, { metadata: { name } });
    return { namespace, name, uid: metadata.uid };
  }

  /**
   * A token of a service account that ends in so many seconds. The API gives out none below ten minutes. It is accepted for a minute longer,
   * in case that clocks differ.
   */
  serviceAccountToken(account: { namespace: string; name: string; uid: string }, seconds: number): string {
    const now = Math.floor(Date.now() / 1000);
    const part = (object: object) => Buffer.from(JSON.stringify(object)).toString("base64url");
    const payload = {
      ...{ iss: ISSUER, aud: [ISSUER], iat: now - 600, nbf: now - 600, exp: now + seconds, jti: randomUUID() },
      sub: `system:serviceaccount:${account.namespace}:${account.name}`,
      "kubernetes.io": { namespace: account.namespace, serviceaccount: { name: account.name, uid: account.uid } },
    };
    const text = `${part({ alg: "RS256" })}.${part(payload)}`;
    return `${text}.${createSign("RSA-SHA256").update(text).sign(this.#key).toString("base64url")}`;
  }

  /** Makes etcd forget all versions but the last: a watch from an older one is gone after the API server's next start. */
  async compact(): Promise<void> {
    const etcd = `http://127.0.0.1:${this.#ports.etcd}/v3/kv`;
    const post = async (path: string, body: object) => {
      const { statusCode, body: answer } = await request(`${etcd}/${path}`, {
        method: "POST",
        body: JSON.stringify(body),
      });
      const json = (await answer.json()) as { header?: { revision?: string } };
      if (statusCode !== 200) throw new Error(`etcd ${path}: ${JSON.stringify(json)}`);
      return json;
    };
    const { header } = await post("range", { key: Buffer.from("x").toString("base64") });
    await post("compaction", { revision: header?.revision, physical: true });
  }

  /** Stops (SIGSTOP) or continues (SIGCONT) the API server. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    if (this.#api !== undefined) process.kill(this.#api.pid, signal);
  }

  /** Ends both at once, as a power failure does; `lose` takes the data away. */
  async kill({ lose = false } = {}): Promise<void> {
    await Promise.all([this.#api?.stop("SIGKILL"), this.#etcd?.stop("SIGKILL")]);
    if (lose) await rm(join(this.#dir, "etcd"), { recursive: true });
  }

  async stop(): Promise<void> {
    await this.kill();
    await this.#agent?.destroy();
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** The server makes itself a certificate when it starts for the first time. */
  get #ca(): string {
    return readFileSync(join(this.#dir, "certs/apiserver.crt"), "utf8");
  }

  async #send(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: object) {
    this.#agent ??= new Agent({ connect: { ca: this.#ca }, headersTimeout: 60_000 });
    const { statusCode, body: answer } = await request(`https://127.0.0.1:${this.#ports.api}${path}`, {
      method,
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: statusCode, text: await answer.text() };
  }
}
