/** What comes of bytes on a whole connection: through ServerConnection and ClientConnection on real sockets, to an origin that llhttp reads for. */
import { clusterOf, DataPath, endpointAt, forwardAction, TestServer } from "../support/data-path.ts";
import { RawClient } from "../support/raw-client.ts";
import { until } from "../support/wait.ts";
import type { ReadRequest, RequestReading } from "./reading.ts";

/** A request as it reached the origin, whole. */
type Arrived = Pick<ReadRequest, "method" | "target" | "authority" | "body">;

/** A data path, with and without HTTP/1.0, whose origin keeps what reaches it. Paths go on as they came. */
export class ThroughProxy implements AsyncDisposable {
  readonly #origin: TestServer;
  readonly #arrived: Arrived[];
  readonly #paths: readonly [strict: DataPath, http10: DataPath];

  private constructor(origin: TestServer, arrived: Arrived[], paths: readonly [DataPath, DataPath]) {
    this.#origin = origin;
    this.#arrived = arrived;
    this.#paths = paths;
  }

  static async start(): Promise<ThroughProxy> {
    const arrived: Arrived[] = [];
    const origin = await TestServer.http((request, response) => {
      const { method = "", url = "", headers } = request;
      let body = "";
      request.on("error", () => {});
      request.on("data", (bytes: Buffer) => (body += bytes.toString("latin1")));
      request.on("end", () => {
        arrived.push({ method, target: url, authority: headers.host ?? "", body });
        response.end("ok");
      });
    });
    // Node's server would refuse an expectation that it doesn't know by itself.
    origin.server.on("checkExpectation", (...pair) => origin.server.emit("request", ...pair));
    const start = (acceptHttp10: boolean) =>
      DataPath.start({
        cluster: clusterOf([endpointAt(origin.port)]),
        route: { kind: "forward", forward: forwardAction({ timeoutMs: 0 }) },
        http: { acceptHttp10, normalizePath: false },
      });
    return new ThroughProxy(origin, arrived, [await start(false), await start(true)]);
  }

  /** Sends the bytes and ends; returns what reached the origin whole, and the statuses of the answers. */
  async read(bytes: Buffer, acceptHttp10: boolean): Promise<{ arrived: Arrived[]; statuses: number[] }> {
    const path = this.#paths[acceptHttp10 ? 1 : 0];
    const answers = await endedExchange(path.port, bytes);
    await until(() => path.stats.get("upstream_rq_active") === 0);
    const statuses = [...answers.matchAll(/HTTP\/1\.1 ([2-5]\d\d) /g)].map(([, status]) => Number(status));
    return { arrived: this.#arrived.splice(0), statuses };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const path of this.#paths) await path[Symbol.asyncDispose]();
    await this.#origin[Symbol.asyncDispose]();
  }
}

/** Sends bytes and ends our half; returns all of the answer. */
async function endedExchange(port: number, bytes: Buffer): Promise<string> {
  using client = new RawClient(port);
  client.socket.end(bytes);
  return await client.end();
}

/** How what arrived differs from what the codec read; "" if it doesn't. Requests that the proxy answers by itself need not arrive. */
export function arrivalDifference(reading: RequestReading, arrived: readonly Arrived[]): string {
  const whole = reading.requests.filter(({ complete }) => complete);
  let at = 0;
  for (const { method, target, authority, body } of arrived) {
    const text = JSON.stringify([method, target, authority, body]);
    while (at < whole.length && text !== summary(whole[at] as ReadRequest)) {
      if (!isAnsweredHere(whole[at] as ReadRequest)) return `${text} instead of ${summary(whole[at] as ReadRequest)}`;
      at++;
    }
    if (at++ >= whole.length) return `${text} from nowhere`;
  }
  const lost = whole.slice(at).find((request) => !isAnsweredHere(request));
  return lost === undefined ? "" : `${summary(lost)} did not arrive`;
}

const summary = ({ method, target, authority, body }: ReadRequest): string =>
  JSON.stringify([method, target, authority, body]);

/** An upgrade that no route allows is refused. */
const isAnsweredHere = ({ upgrade }: ReadRequest): boolean => upgrade === true;
