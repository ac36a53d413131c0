import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { consul } from "./consul-install.ts";
import { freePort } from "./ports.ts";
import { Program } from "./processes.ts";
import { waitFor } from "./wait.ts";

/** Of the agents that have ACLs. */
export const CONSUL_MANAGEMENT_TOKEN = "11111111-2222-3333-4444-555555555555";

interface ConsulOptions {
  /** ACLs on, default deny. */
  readonly acl?: boolean;
  /** Default: true, as Consul's. */
  readonly streaming?: boolean;
  /** Whether a client may have no more connections than Consul allows by itself. */
  readonly connectionLimit?: boolean;
  /** Serves HTTPS too. */
  readonly certificate?: { readonly cert: string; readonly key: string };
}

/** An instance to register. */
interface Instance {
  readonly id: string;
  readonly name: string;
  readonly address?: string;
  readonly port: number;
  readonly tags?: readonly string[];
  readonly meta?: Readonly<Record<string, string>>;
  readonly weights?: { readonly Passing: number; readonly Warning: number };
  /** With a check that a test sets by `setCheck`. */
  readonly check?: "passing" | "warning" | "critical";
}

/** A real Consul, one dev agent on loopback; it loses its data when it ends. */
export class Consul {
  readonly port: number;
  readonly #options: ConsulOptions;
  readonly #dir: string;
  readonly #ports: number[];
  #program: Program | undefined;

  private constructor(options: ConsulOptions, dir: string, ports: number[]) {
    this.#options = options;
    this.#dir = dir;
    this.#ports = ports;
    this.port = ports[0] ?? 0;
  }

  static async start(options: ConsulOptions = {}): Promise<Consul> {
    const dir = await mkdtemp(join(tmpdir(), "sluice-consul-"));
    const ports = [];
    while (ports.length < 6) ports.push(await freePort());
    const made = new Consul(options, dir, ports);
    await made.restart();
    return made;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get secureUrl(): string {
    return `https://127.0.0.1:${this.#ports[5] ?? 0}`;
  }

  get pid(): number {
    if (this.#program === undefined) throw new Error("Consul doesn't run");
    return this.#program.pid;
  }

  /** Starts it on the same ports, with nothing in it. */
  async restart(): Promise<void> {
    const { acl = false, streaming = true, connectionLimit = false, certificate } = this.#options;
    const [http, grpc, lan, wan, server, https] = this.#ports;
    const config = {
      disable_update_check: true,
      use_streaming_backend: streaming,
      rpc: { enable_streaming: true },
      ...(!connectionLimit && { limits: { http_max_conns_per_client: 8_000 } }),
      ...(certificate !== undefined && {
        tls: { https: { cert_file: join(this.#dir, "cert.pem"), key_file: join(this.#dir, "key.pem") } },
      }),
      ports: {
        http,
        grpc,
        grpc_tls: -1,
        https: certificate === undefined ? -1 : https,
        dns: -1,
        serf_lan: lan,
        serf_wan: wan,
        server,
      },
      ...(acl && {
        acl: {
          enabled: true,
          default_policy: "deny",
          tokens: { initial_management: CONSUL_MANAGEMENT_TOKEN, agent: CONSUL_MANAGEMENT_TOKEN },
        },
      }),
    };
    const file = join(this.#dir, "agent.json");
    await writeFile(file, JSON.stringify(config));
    if (certificate !== undefined) {
      await writeFile(join(this.#dir, "cert.pem"), certificate.cert);
      await writeFile(join(this.#dir, "key.pem"), certificate.key);
    }
    const args = ["agent", "-dev", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-node", "peer"];
    const program = new Program(await consul(), [...args, "-config-file", file, "-log-level", "error"]);
    this.#program = program;
    const up = await waitFor(
      "Consul to have a leader",
      async () => {
        if (program.exited) return "ended";
        const services = await this.call("GET", "/v1/health/service/consul");
        return Array.isArray(services) && services.length > 0 ? "up" : undefined;
      },
      60_000,
    );
    if (up === "ended") throw new Error(`Consul ended: ${program.stdout}${program.stderr}`);
  }

  /** Calls the HTTP API with the management token. */
  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: this.#options.acl === true ? { "x-consul-token": CONSUL_MANAGEMENT_TOKEN } : {},
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? undefined : (JSON.parse(text) as unknown);
  }

  async register({ id, name, address, port, tags, meta, weights, check }: Instance): Promise<void> {
    await this.call("PUT", "/v1/agent/service/register", {
      ...{ ID: id, Name: name, Address: address ?? "", Port: port, Tags: tags ?? [], Meta: meta ?? {} },
      ...(weights !== undefined && { Weights: weights }),
      ...(check !== undefined && { Check: { CheckID: `check:${id}`, Name: "test", TTL: "24h", Status: check } }),
    });
  }

  /** Writes an instance with a check right into the catalog, as an agent elsewhere would. */
  async registerInCatalog(service: string, address: string, port: number, status = "passing"): Promise<void> {
    const id = `${service}-${address}-${port}`;
    await this.call("PUT", "/v1/catalog/register", {
      ...{ Node: "elsewhere", Address: "10.0.0.1", SkipNodeUpdate: true },
      Service: { ID: id, Service: service, Address: address, Port: port },
      Check: { CheckID: `check:${id}`, Name: "test", ServiceID: id, Status: status },
    });
  }

  async deregisterFromCatalog(service: string, address: string, port: number): Promise<void> {
    await this.call("PUT", "/v1/catalog/deregister", { Node: "elsewhere", ServiceID: `${service}-${address}-${port}` });
  }

  async deregister(id: string): Promise<void> {
    await this.call("PUT", `/v1/agent/service/deregister/${id}`);
  }

  async setCheck(id: string, status: "passing" | "warning" | "critical"): Promise<void> {
    await this.call("PUT", `/v1/agent/check/update/check:${id}`, { Status: status });
  }

  /** A token with these rules (HCL). */
  async token(rules: string): Promise<string> {
    const name = randomUUID();
    await this.call("PUT", "/v1/acl/policy", { Name: name, Rules: rules });
    const { SecretID } = (await this.call("PUT", "/v1/acl/token", { Policies: [{ Name: name }] })) as {
      SecretID: string;
    };
    return SecretID;
  }

  /** Stops (SIGSTOP) or continues (SIGCONT) it. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    process.kill(this.pid, signal);
  }

  async kill(): Promise<void> {
    await this.#program?.stop("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#dir, { recursive: true, force: true });
  }
}
