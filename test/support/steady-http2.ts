import { constants } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";

import { Http2Client } from "./http2-client.ts";
import type { SteadyLoad } from "./steady-load.ts";
import type { Echo } from "./upstream.ts";

/** A steady load over HTTP/2. */
export interface SteadyHttp2Load extends SteadyLoad {
  /** Requests that the server said it would not process (RFC 9113, 8.7), and that were sent again. */
  readonly refused: number;
}

/** Every other request has a body. */
const BODY = Buffer.alloc(3_000, "b");

/**
 * So many clients over HTTP/2 and TLS each ask the echoing upstream of this host one request after the other, every other one with a body, on
 * a connection that is kept until the server says that it goes away.
 */
export function startSteadyHttp2Load(
  port: number,
  host: string,
  ca: string,
  clients: number,
  { pauseMs = 0 } = {},
): SteadyHttp2Load {
  const failures: string[] = [];
  let [answered, refused, stopped] = [0, 0, false];
  const client = async (which: number) => {
    let connection: Http2Client | undefined;
    for (let n = 0; !stopped; n++) {
      if (connection === undefined || connection.session.closed || connection.session.destroyed) {
        connection = new Http2Client(port, { ca, servername: host }, "https");
      }
      const path = `/echo/${which}-${n}`;
      const body = n % 2 === 0 ? undefined : BODY;
      const method = body === undefined ? "GET" : "POST";
      const answer = await connection.ask({ ":method": method, ":path": path, ":authority": host }, body);
      if (answer.status === 0 && answer.resetCode === constants.NGHTTP2_REFUSED_STREAM) refused++;
      else if (answer.status !== 200)
        failures.push(`${path}: ${answer.status} ${answer.body}, reset ${answer.resetCode}`);
      else {
        const echo = JSON.parse(answer.body) as Echo;
        if (echo.path !== path) failures.push(`${path} got another's answer`);
        else if (echo.bodyLength !== (body?.length ?? 0)) failures.push(`${path}: ${echo.bodyLength} bytes arrived`);
        else answered++;
      }
      if (pauseMs > 0) await sleep(pauseMs);
    }
    await connection?.[Symbol.asyncDispose]();
  };
  const running = Array.from({ length: clients }, (_, which) => client(which));
  return {
    get answered() {
      return answered;
    },
    get refused() {
      return refused;
    },
    failures,
    async stop() {
      stopped = true;
      await Promise.all(running);
    },
  };
}
