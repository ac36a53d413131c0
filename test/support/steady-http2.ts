import { constants } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";

import { Http2Client } from "./http2-client.ts";
import { SteadyClients } from "./steady-clients.ts";
import type { Echo } from "./upstream.ts";

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
): SteadyClients {
  const load = new SteadyClients();
  const client = async (which: number) => {
    let connection: Http2Client | undefined;
    for (let n = 0; !load.stopped; n++) {
      if (connection === undefined || connection.session.closed || connection.session.destroyed) {
        connection = new Http2Client(port, { ca, servername: host }, "https");
      }
      const path = `/echo/${which}-${n}`;
      const body = n % 2 === 0 ? undefined : BODY;
      const method = body === undefined ? "GET" : "POST";
      const answer = await connection.ask({ ":method": method, ":path": path, ":authority": host }, body);
      if (answer.status === 0 && answer.resetCode === constants.NGHTTP2_REFUSED_STREAM) load.refused++;
      else if (answer.status !== 200) load.fail(`${path}: ${answer.status} ${answer.body}, reset ${answer.resetCode}`);
      else {
        const echo = JSON.parse(answer.body) as Echo;
        if (echo.path !== path) load.fail(`${path} got another's answer`);
        else if (echo.bodyLength !== (body?.length ?? 0)) load.fail(`${path}: ${echo.bodyLength} bytes arrived`);
        else load.answered++;
      }
      if (pauseMs > 0) await sleep(pauseMs);
    }
    await connection?.[Symbol.asyncDispose]();
  };
  return load.run(clients, client);
}
