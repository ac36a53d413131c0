import { createServer, type ServerResponse } from "node:http";

import { freePort } from "./ports.ts";

/** How long a question may wait: "500ms", "240s". */
const milliseconds = (wait: string) => Number.parseInt(wait, 10) * (wait.endsWith("ms") ? 1 : 1_000);

/** An instance, as a test wants it found. */
export interface ScriptedInstance {
  readonly id: string;
  readonly port: number;
}

/** A registry that speaks as much of Consul's protocol as watching takes, and says what a test tells it to. */
export class ScriptedConsul implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Questions that wait for a change now: one for each service that somebody watches. */
  readonly waiting = new Set<() => void>();
  /** Services that nobody may read from their next question on. */
  readonly denied = new Set<string>();
  readonly #byService = new Map<string, { instances: readonly ScriptedInstance[]; index: number }>();
  /** Services whose newest instances nobody was told yet. */
  readonly #untold = new Set<string>();
  readonly #waitingFor = new Map<string, Set<() => void>>();
  readonly #close: () => Promise<void>;
  #index = 1;
  #instances: readonly ScriptedInstance[] = [];

  private constructor(url: string, port: number, close: () => Promise<void>) {
    this.url = url;
    this.port = port;
    this.#close = close;
  }

  /** @param at where another one was before; default: a port that nobody else is given when this one goes */
  static async start(at?: number): Promise<ScriptedConsul> {
    // Consul doesn't end kept connections after some seconds either, at a moment when the next question may be on its way.
    const server = createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
      const token = request.headers["x-consul-token"];
      consul.#answer(request.url ?? "", response, typeof token === "string" ? token : "");
    });
    const port = at ?? (await freePort());
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    const consul: ScriptedConsul = new ScriptedConsul(`http://127.0.0.1:${port}`, port, async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    return consul;
  }

  /** Every service has these instances from now on. */
  set(instances: readonly ScriptedInstance[]): void {
    this.#instances = instances;
    this.#index++;
    this.#byService.clear();
    for (const answer of [...this.waiting]) answer();
  }

  /** How many services, set one by one, have instances that nobody was told yet. */
  get untold(): number {
    return this.#untold.size;
  }

  /** One service has these instances from now on. */
  setService(service: string, instances: readonly ScriptedInstance[]): void {
    this.#untold.add(service);
    this.#byService.set(service, { instances, index: ++this.#index });
    for (const answer of [...(this.#waitingFor.get(service) ?? [])]) answer();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  #answer(target: string, response: ServerResponse, token: string): void {
    const { pathname, searchParams } = new URL(target, this.url);
    if (pathname === "/v1/status/leader") {
      response.end('"127.0.0.1:8300"');
      return;
    }
    if (pathname === "/v1/catalog/services" || pathname.startsWith("/v1/health/state/")) {
      const tell = () =>
        response.writeHead(200, { "x-consul-index": "1" }).end(pathname.endsWith("services") ? "{}" : "[]");
      const waited = setTimeout(tell, searchParams.has("index") ? milliseconds(searchParams.get("wait") ?? "") : 0);
      response.on("close", () => clearTimeout(waited));
      return;
    }
    if (!pathname.startsWith("/v1/health/service/")) {
      response.writeHead(404).end("[]");
      return;
    }
    const service = decodeURIComponent(pathname.slice("/v1/health/service/".length));
    if (this.denied.has(service)) {
      // A real one is more discreet.
      response.writeHead(403).end(`Permission denied: token ${token} lacks permission 'service:read' on "${service}"`);
      return;
    }
    const waiting = this.#waitingFor.get(service) ?? new Set();
    this.#waitingFor.set(service, waiting);
    const now = () => this.#byService.get(service) ?? { instances: this.#instances, index: this.#index };
    const forget = () => {
      this.waiting.delete(answer);
      waiting.delete(answer);
    };
    const answer = () => {
      forget();
      this.#untold.delete(service);
      const { instances, index } = now();
      const entries = instances.map(({ id, port }) => ({
        Node: { Address: "127.0.0.1" },
        Service: { ID: id, Address: "127.0.0.1", Port: port },
        Checks: [],
      }));
      response.writeHead(200, { "x-consul-index": String(index) }).end(JSON.stringify(entries));
    };
    if (Number(searchParams.get("index") ?? 0) < now().index) {
      answer();
      return;
    }
    this.waiting.add(answer);
    waiting.add(answer);
    const waited = setTimeout(answer, milliseconds(searchParams.get("wait") ?? "300000ms"));
    response.on("close", () => {
      clearTimeout(waited);
      forget();
    });
  }
}
