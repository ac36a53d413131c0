import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Agent, request } from "undici";

import type { TestCertificate } from "./certificates.ts";
import { type NacosGeneration, nacos } from "./nacos-install.ts";
import { freePort } from "./ports.ts";
import { Program } from "./processes.ts";
import { waitFor } from "./wait.ts";

/** An instance to register. */
interface Instance {
  readonly ip: string;
  readonly port: number;
  readonly weight?: number;
  readonly enabled?: boolean;
  readonly healthy?: boolean;
  readonly clusterName?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

interface NacosOptions {
  /** How long tokens of a login are good for. Default: five hours. */
  readonly tokenSeconds?: number;
  /** What the server shows over HTTP and gRPC. Nacos 3 only. Default: plain text. */
  readonly tls?: TestCertificate & { readonly ca: string };
}

/** A real Nacos server, standalone on loopback, with authentication. */
export class Nacos {
  /** Of HTTP; gRPC is 1,000 above. */
  readonly port: number;
  readonly username = "nacos";
  readonly password: string;
  readonly #generation: NacosGeneration;
  readonly #home: string;
  readonly #options: NacosOptions;
  #program: Program | undefined;
  #token = "";

  private constructor(generation: NacosGeneration, home: string, port: number, options: NacosOptions) {
    this.#options = options;
    this.#generation = generation;
    this.#home = home;
    this.port = port;
    // Nacos 2 comes with this one; Nacos 3 with none.
    this.password = generation === 2 ? "nacos" : "interop123";
  }

  static async start(generation: NacosGeneration, options: NacosOptions = {}): Promise<Nacos> {
    const home = await mkdtemp(join(tmpdir(), "sluice-nacos-"));
    const made = new Nacos(generation, home, await freePorts(), options);
    try {
      await made.restart();
    } catch (error) {
      await made.stop();
      throw error;
    }
    return made;
  }

  get url(): string {
    return `${this.#options.tls === undefined ? "http" : "https"}://127.0.0.1:${this.port}`;
  }

  /** Starts it on the same ports with the same data. */
  async restart(): Promise<void> {
    const { classPath, main } = await nacos(this.#generation);
    await mkdir(join(this.#home, "conf"), { recursive: true });
    await writeFile(join(this.#home, "conf/application.properties"), this.#properties());
    const home = this.#home;
    const { tls } = this.#options;
    if (tls !== undefined) {
      await writeFile(join(home, "server.pem"), tls.cert);
      await writeFile(join(home, "server.key"), tls.key, { mode: 0o600 });
    }
    const program = new Program("java", [
      ...["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
      ...[`-Djava.io.tmpdir=${home}`, `-Duser.home=${home}`, `-Dderby.stream.error.file=${home}/derby.log`],
      ...["-Dderby.system.durability=test", "-Dnacos.standalone=true", `-Dnacos.home=${home}`],
      ...[`-Dnacos.logs.path=${home}/logs`, "-Dlogging.config=classpath:META-INF/logback/nacos.xml"],
      ...["-Dnacos.deployment.type=server", `-Dspring.config.additional-location=file:${home}/conf/`],
      ...["-cp", classPath, main],
    ]);
    this.#program = program;
    const ready = this.#generation === 3 ? "/v3/admin/core/state/readiness" : "/actuator/health";
    const up = await waitFor(
      "Nacos to be ready",
      async () => (program.exited ? "ended" : (await this.#ask(`/nacos${ready}`)).status === 200 && "up"),
      240_000,
    );
    if (up === "ended") throw new Error(`Nacos ended: ${program.stdout.slice(-3_000)}${program.stderr.slice(-1_000)}`);
    // The administrator of Nacos 3 is made once, with a password of our choice; later the answer is 409, which is as good.
    if (this.#generation === 3) await this.#post("/v3/auth/user/admin", { password: this.password });
    await waitFor("the login", () => this.#login());
  }

  /** Registers an instance that stays until it is deregistered. Nacos 3 only. */
  async register(serviceName: string, { metadata, ...instance }: Instance): Promise<void> {
    await this.#admin("POST", { serviceName, ...instance, ephemeral: false, metadata: JSON.stringify(metadata ?? {}) });
  }

  async deregister(serviceName: string, { ip, port, clusterName }: Instance): Promise<void> {
    await this.#admin("DELETE", { serviceName, ip, port, ...(clusterName && { clusterName }), ephemeral: false });
  }

  /** Below which share of healthy instances a service's are all called healthy. Nacos 3 only. */
  async protect(serviceName: string, protectThreshold: number): Promise<void> {
    await this.#admin("PUT", { serviceName, protectThreshold, ephemeral: true }, "service");
  }

  /** Stops (SIGSTOP) or continues (SIGCONT) it. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    if (this.#program !== undefined) process.kill(this.#program.pid, signal);
  }

  /** Ends it as a power failure does; `lose` takes the data away. */
  async kill({ lose = false } = {}): Promise<void> {
    await this.#program?.stop("SIGKILL");
    if (lose) await rm(join(this.#home, "data"), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#home, { recursive: true, force: true });
  }

  async #login(): Promise<boolean> {
    const form = { username: this.username, password: this.password };
    const text = await this.#post(this.#generation === 3 ? "/v3/auth/user/login" : "/v1/auth/login", form);
    this.#token = (JSON.parse(text) as { accessToken?: string }).accessToken ?? "";
    return this.#token !== "";
  }

  async #ask(path: string, method: "GET" | "POST" | "PUT" | "DELETE" = "GET", form?: Record<string, string>) {
    const connect = { ...(this.#options.tls !== undefined && { ca: this.#options.tls.ca }) };
    const agent = new Agent({ connect });
    try {
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const { statusCode, body } = await request(`${this.url}${path}`, {
        ...{ method, dispatcher: agent },
        ...(form !== undefined && { headers, body: new URLSearchParams(form).toString() }),
      });
      return { status: statusCode, text: await body.text() };
    } finally {
      await agent.close();
    }
  }

  async #post(path: string, form: Record<string, string>): Promise<string> {
    return (await this.#ask(`/nacos${path}`, "POST", form)).text;
  }

  async #admin(
    method: "POST" | "PUT" | "DELETE",
    fields: Record<string, string | number | boolean | undefined>,
    noun = "instance",
  ): Promise<void> {
    const query = new URLSearchParams({ accessToken: this.#token });
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) query.set(name, String(value));
    // A server that is ready may still be without a leader for what it keeps.
    await waitFor(`${method} ${noun} to be taken`, async () => {
      const { text } = await this.#ask(`/nacos/v3/admin/ns/${noun}?${query.toString()}`, method);
      if ((JSON.parse(text) as { code?: number }).code === 0) return true;
      throw new Error(text);
    });
  }

  #properties(): string {
    const common = `
nacos.server.main.port=${this.port}
nacos.server.contextPath=/nacos
server.address=127.0.0.1
nacos.inetutils.ip-address=127.0.0.1
nacos.core.auth.system.type=nacos
nacos.core.auth.enabled=true
nacos.core.auth.admin.enabled=true
nacos.core.auth.console.enabled=true
nacos.core.auth.caching.enabled=false
nacos.core.auth.plugin.nacos.token.expire.seconds=${this.#options.tokenSeconds ?? 18_000}
nacos.core.auth.server.identity.key=interopKey
nacos.core.auth.server.identity.value=interopValue
nacos.core.auth.plugin.nacos.token.secret.key=SW50ZXJvcFRlc3RTZWNyZXRLZXkwMTIzNDU2Nzg5MDEyMzQ1Njc4OQ==
db.pool.config.connectionTimeout=60000
nacos.extension.ai.enabled=false
nacos.istio.mcp.server.enabled=false
nacos.k8s.sync.enabled=false
management.elastic.metrics.export.enabled=false
management.influx.metrics.export.enabled=false
server.tomcat.accesslog.enabled=false
server.tomcat.basedir=file:${this.#home}/tomcat
`;
    if (this.#generation === 3)
      return this.#options.tls === undefined ? common : `${common}${tlsProperties(this.#home)}`;
    return `${common}
server.port=${this.port}
server.servlet.contextPath=/nacos
nacos.core.auth.enable.userAgentAuthWhite=false
nacos.security.ignore.urls=/,/error,/v1/auth/**,/v1/console/health/**,/actuator/**,/v1/console/server/**
spring.autoconfigure.exclude=org.springframework.boot.autoconfigure.jdbc.DataSourceAutoConfiguration,org.springframework.boot.autoconfigure.jdbc.DataSourceTransactionManagerAutoConfiguration
management.metrics.export.elastic.enabled=false
management.metrics.export.influx.enabled=false
`;
  }
}

const tlsProperties = (home: string) => `
server.ssl.enabled=true
server.ssl.certificate=file:${home}/server.pem
server.ssl.certificate-private-key=file:${home}/server.key
nacos.remote.server.rpc.tls.enableTls=true
nacos.remote.server.rpc.tls.compatibility=false
nacos.remote.server.rpc.tls.certChainFile=file:${home}/server.pem
nacos.remote.server.rpc.tls.certPrivateKey=file:${home}/server.key
`;

/** Nacos takes four ports around one: itself, gRPC for clients (+1000) and servers (+1001), and Raft (-1000). */
async function freePorts(): Promise<number> {
  // Below the range that systems give out by themselves, so that no client's port gets in the way.
  for (;;) {
    const port = 10_000 + ((await freePort()) % 18_000);
    const taken = await Promise.all([0, 1000, 1001, -1000].map((offset) => isTaken(port + offset)));
    if (!taken.includes(true)) return port;
  }
}

const isTaken = (port: number) =>
  fetch(`http://127.0.0.1:${port}/`).then(
    () => true,
    (error: { cause?: { code?: string } }) => error.cause?.code !== "ECONNREFUSED",
  );
