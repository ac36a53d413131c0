import { once } from "node:events";
import { readFile } from "node:fs/promises";
import https from "node:https";
import net from "node:net";
import { connect } from "node:tls";

import { Client, credentials, status } from "@grpc/grpc-js";
import { expect, test } from "vitest";

import { callEcho, openTalk } from "./grpc-echo.ts";
import { ask, askRaw, webSocketEcho } from "./http.ts";
import { Http2Client } from "./http2-client.ts";
import type { ProtocolGateway } from "./protocol-gateway.ts";
import type { Seen } from "./secure-origin.ts";
import type { Echo } from "./upstream.ts";
import { waitFor } from "./wait.ts";

/** Tests that hold for a data plane, whichever it is, which serves this gateway. */
export function protocolSuite(gateway: () => ProtocolGateway): void {
  const secureClient = (name: string, more: { readonly cert?: string; readonly key?: string } = {}, port = "https") => {
    const { ports, authority } = gateway();
    return new Http2Client(
      ports[port as "https" | "mutual"],
      { ca: authority.cert, servername: name, ...more },
      "https",
    );
  };

  const get = (host: string) => ({ ":path": "/", ":authority": host });

  test.each([
    ["http1", "1.1"],
    ["http2", "2.0"],
    ["auto", "2.0"],
  ])(
    "HTTP/2 by ALPN from the client; %s over TLS with a certificate to the upstream",
    async (protocol, httpVersion) => {
      const host = `${protocol}.shop.test`;
      await using client = secureClient(host);
      const answer = await client.ask(get(host));
      expect(answer.status).toBe(200);
      expect(client.session.alpnProtocol).toBe("h2");
      expect(JSON.parse(answer.body)).toEqual({
        httpVersion,
        host,
        client: "gateway",
        sni: "origin.test",
      } satisfies Seen);
    },
  );

  test("clients of HTTP/1.1 are served by the same listener", async () => {
    const { ports, authority } = gateway();
    const request = https.get({
      ...{ host: "127.0.0.1", port: ports.https, agent: false, servername: "shop.test", ca: authority.cert },
      headers: { host: "shop.test" },
    });
    const [response] = await once(request, "response");
    expect([response.statusCode, response.httpVersion]).toEqual([200, "1.1"]);
    response.resume();
  });

  test("a listener without TLS takes HTTP/2 from clients that know it, beside HTTP/1.1", async () => {
    const { ports } = gateway();
    await using client = new Http2Client(ports.plain);
    expect((await client.ask(get("a.test"))).status).toBe(200);
    expect((await ask(ports.plain, { headers: { host: "a.test" } })).status).toBe(200);
  });

  const grpcClient = (tls: boolean) => {
    const { ports, authority } = gateway();
    const options = { "grpc.default_authority": "grpc.shop.test", "grpc.ssl_target_name_override": "grpc.shop.test" };
    return tls
      ? new Client(`127.0.0.1:${ports.https}`, credentials.createSsl(Buffer.from(authority.cert)), options)
      : new Client(`127.0.0.1:${ports.plain}`, credentials.createInsecure(), options);
  };

  test.each([true, false])("gRPC calls pass with answers, errors, streams and deadlines (TLS: %s)", async (tls) => {
    const client = grpcClient(tls);
    try {
      expect(await callEcho(client, "hello")).toEqual({ value: "hello!", code: status.OK, details: "OK" });
      expect(await callEcho(client, "fail")).toMatchObject({ code: status.NOT_FOUND, details: "no such echo" });
      const talk = openTalk(client);
      for (const word of ["a", "b"]) {
        talk.write(word);
        expect(await once(talk, "data")).toEqual([`${word}!`]);
      }
      talk.end();
      await once(talk, "end");
      const before = gateway().grpc.cancelled;
      // A call whose time is over before it has got there is none that the server could know of.
      await waitFor("the server to know", async () => {
        expect((await callEcho(client, "never", 200)).code).toBe(status.DEADLINE_EXCEEDED);
        return gateway().grpc.cancelled > before;
      });
    } finally {
      client.close();
    }
  });

  test("a deadline is kept for a client that doesn't watch it", async () => {
    const message = Buffer.concat([Buffer.from([0, 0, 0, 0, 5]), Buffer.from("never")]);
    await using client = new Http2Client(gateway().ports.plain);
    const { headers, trailers } = await client.ask(
      {
        ...{ ":method": "POST", ":path": "/test.Echo/unary", ":authority": "grpc.shop.test", te: "trailers" },
        ...{ "content-type": "application/grpc", "grpc-timeout": "100m" },
      },
      message,
    );
    expect((trailers ?? headers)["grpc-status"]).toBe(String(status.DEADLINE_EXCEEDED));
  });

  test("a browser calls by gRPC-Web", async () => {
    const { ports, authority } = gateway();
    const message = Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), Buffer.from("hi")]);
    await using client = new Http2Client(ports.https, { ca: authority.cert, servername: "grpc.shop.test" }, "https");
    const { body, headers } = await client.ask(
      {
        ...{ ":method": "POST", ":path": "/test.Echo/unary", ":authority": "grpc.shop.test" },
        "content-type": "application/grpc-web+proto",
      },
      message,
    );
    expect(headers["content-type"]).toBe("application/grpc-web+proto");
    expect(body).toContain("hi!");
    expect(body).toContain("grpc-status:0\r\n");
  });

  test("WebSocket passes over HTTP/1.1 and over HTTP/2", async () => {
    expect(await webSocketEcho(`ws://127.0.0.1:${gateway().ports.plain}/live`, "old", { host: "a.test" })).toBe("old");
    await using client = secureClient("shop.test");
    await once(client.session, "remoteSettings");
    const stream = client.session.request(
      {
        ...{ ":method": "CONNECT", ":protocol": "websocket", ":path": "/live", ":authority": "shop.test" },
        "sec-websocket-version": "13",
      },
      { endStream: false },
    );
    const [headers] = await once(stream, "response");
    expect(headers[":status"]).toBe(200);
    // A text frame of three bytes, with a mask of zeros.
    stream.write(Buffer.from([0x81, 0x83, 0, 0, 0, 0, ...Buffer.from("new")]));
    expect(String((await once(stream, "data"))[0])).toContain("new");
    stream.destroy();
  });

  test("who must show a certificate gets in with the right one only", async () => {
    const { ports, authority, clientCertificate } = gateway();
    await using client = secureClient("shop.test", clientCertificate, "mutual");
    expect((await client.ask(get("shop.test"))).status).toBe(200);
    const strangers = [undefined, authority.issue({ name: "other", altNames: ["DNS:other.test"] })];
    for (const stranger of strangers) {
      const socket = connect({
        host: "127.0.0.1",
        port: ports.mutual,
        servername: "shop.test",
        ca: authority.cert,
        ...stranger,
      });
      // With TLS 1.3 the client hears of it after its own side of the handshake.
      const got: Buffer[] = [];
      socket.on("data", (bytes) => got.push(bytes)).on("error", () => {});
      socket.write("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
      // Not by once(), which throws at the error that is expected here.
      await new Promise((resolve) => socket.on("close", resolve));
      expect(Buffer.concat(got).toString()).toBe("");
    }
  });

  test("the PROXY protocol and one trusted hop tell who the client is", async () => {
    const { proxied } = gateway().ports;
    const request =
      "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-Forwarded-For: 198.51.100.9, 192.0.2.1\r\n\r\n";
    const answer = await askRaw(proxied, `PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n${request}`);
    const echo = JSON.parse(answer.slice(answer.indexOf("{"), answer.lastIndexOf("}") + 1)) as Echo;
    expect(echo.headers).toMatchObject({
      "x-client": "192.0.2.1",
      "x-forwarded-for": "198.51.100.9, 192.0.2.1,203.0.113.7",
    });
    expect(await askRaw(proxied, request)).toBe("");
  });

  test("connections beyond the limit are closed, and let in when there is room", async () => {
    const { narrow } = gateway().ports;
    const first = net.connect(narrow, "127.0.0.1");
    first.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    await once(first, "data");
    const request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    expect(await askRaw(narrow, request)).toBe("");
    first.destroy();
    await waitFor("room", async () => (await askRaw(narrow, request)).startsWith("HTTP/1.1 200"));
  });

  test("the access log tells protocols and gRPC statuses", async () => {
    const lines = await waitFor("the lines", async () => {
      const text = await readFile(gateway().logFile, "utf8");
      return text.includes("NotFound") ? text.split("\n") : undefined;
    });
    expect(lines).toContain("HTTP/2 200 OK grpc.shop.test");
    expect(lines).toContain("HTTP/2 200 NotFound grpc.shop.test");
    expect(lines).toContain("HTTP/2 200 - auto.shop.test");
    expect(lines).toContain("HTTP/1.1 200 - shop.test");
  });
}
