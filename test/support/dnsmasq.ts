import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePort } from "./ports.ts";
import { Program } from "./processes.ts";
import { dnsmasq } from "./tools.ts";

/** What the server knows of the domain "test". */
interface Zone {
  /** Names by their addresses. */
  readonly hosts?: Readonly<Record<string, readonly string[]>>;
  /** "NAME,TARGET,PORT,PRIORITY,WEIGHT"; taken when it starts. */
  readonly services?: readonly string[];
  /** Whether it is asked in vain: it then refuses every question, as one that doesn't serve the domain does. Taken when it starts. */
  readonly refuses?: boolean;
}

/** A real DNS server (dnsmasq) on loopback, with answers that are good for a second. */
export class Dnsmasq {
  readonly port: number;
  readonly #dir: string;
  #program: Program | undefined;

  private constructor(dir: string, port: number) {
    this.#dir = dir;
    this.port = port;
  }

  static async start(zone: Zone): Promise<Dnsmasq> {
    const made = new Dnsmasq(await mkdtemp(join(tmpdir(), "sluice-dnsmasq-")), await freePort());
    await made.restart(zone);
    return made;
  }

  /** As a resolver in a registry. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts it again on the same port, with what it knows then. */
  async restart({ hosts = {}, services = [], refuses = false }: Zone): Promise<void> {
    await this.kill();
    await this.#write(hosts);
    const { path, env } = await dnsmasq();
    const args = [
      ...["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--user=root"],
      ...[`--port=${this.port}`, "--listen-address=127.0.0.1", "--bind-interfaces", "--local-ttl=1"],
      ...services.map((service) => `--srv-host=${service}`),
    ];
    const known = [`--addn-hosts=${this.#file}`, "--local=/test/"];
    this.#program = new Program(path, [...args, ...(refuses ? [] : known)], { env });
  }

  /** Has other names from now on. */
  async set(hosts: NonNullable<Zone["hosts"]>): Promise<void> {
    await this.#write(hosts);
    this.signal("SIGHUP");
  }

  /** Has it read its names anew (SIGHUP), stops (SIGSTOP) or continues (SIGCONT) it. */
  signal(signal: "SIGHUP" | "SIGSTOP" | "SIGCONT"): void {
    this.#program?.child.kill(signal);
  }

  async kill(): Promise<void> {
    await this.#program?.stop("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#dir, { recursive: true, force: true });
  }

  get #file(): string {
    return join(this.#dir, "names");
  }

  async #write(hosts: NonNullable<Zone["hosts"]>): Promise<void> {
    const lines = Object.entries(hosts).flatMap(([name, addresses]) => addresses.map((each) => `${each} ${name}\n`));
    await writeFile(this.#file, lines.join(""));
  }
}
