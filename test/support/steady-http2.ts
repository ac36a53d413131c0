import { constants } from "node:http2";

import { Http2Client } from "./http2-client.ts";
import type { SteadyLoad } from "./steady-load.ts";
import type { Echo } from "./upstream.ts";

/** A steady load over HTTP/2. */
export interface SteadyHttp2Load extends SteadyLoad {
  /** Requests that the server said it would not process (RFC 9113, 8.7), and that were sent again. */
  readonly refused: number;
}

/**
 * So many clients over HTTP/2 and TLS each ask the echoing upstream of this host one request after the other, on a connection that is kept
 * until the server says that it goes away.
 */
export function startSteadyHttp2Load(port: number, host: string, ca: string, clients: number): SteadyHttp2Load {
  const failures: string[] = [];
  let [answered, refused, stopped] = [0, 0, false];
  const client = async (which: number) => {
    let connection: Http2Client | undefined;
    for (let n = 0; !stopped; n++) {
      if (connection === undefined || connection.session.closed || connection.session.destroyed) {
        connection = new Http2Client(port, { ca, servername: host }, "https");
      }
      const path = `/echo/${which}-${n}`;
      const answer = await connection.ask({ ":path": path, ":authority": host });
      if (answer.status === 0 && answer.resetCode === constants.NGHTTP2_REFUSED_STREAM) refused++;
      else if (answer.status !== 200)
        failures.push(`${path}: ${answer.status} ${answer.body}, reset ${answer.resetCode}`);
      else if ((JSON.parse(answer.body) as Echo).path === path) answered++;
      else failures.push(`${path} got another's answer`);
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
