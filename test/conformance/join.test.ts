/** Who may join which gateway group: join tokens, client certificates, TLS whose files change, and what plain text is allowed to carry. */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type RequestOptions, request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type PeerCertificate } from "node:tls";

import { create } from "@bufbuild/protobuf";
import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";

import { JoinTokenSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { servedType } from "#proto/resource-types.ts";

import { TestAuthority } from "../support/certificates.ts";
import { waitFor } from "../support/wait.ts";
import { reason, type Running, startRunning } from "./running.ts";

const LDS = servedType("LDS").typeUrl;
const authority = new TestAuthority();
const strangers = new TestAuthority("strangers");
let folder: string;
const file = (name: string) => join(folder, name);

async function issue(name: string, altNames: readonly string[], from = authority) {
  const { cert, key } = from.issue({ name, altNames });
  await writeFile(file(`${name}.pem`), cert);
  await writeFile(file(`${name}.key`), key);
  return { cert: Buffer.from(cert), key: Buffer.from(key) };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-join-"));
  await issue("server", ["IP:127.0.0.1"]);
  await writeFile(file("ca.pem"), authority.cert);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const tokenOf = (name: string, token: string) =>
  create(JoinTokenSchema, { name, sha256: createHash("sha256").update(token).digest("hex") });

/** Groups "blue" and "red" with a token each, and "default" without. */
async function withGroups(options: Parameters<typeof startRunning>[1] = {}): Promise<Running> {
  const running = await startRunning([], options);
  const listener = (port: number) => ({ name: "http", port });
  await running.gateways.apply({
    gateway: {
      gatewayGroups: [
        { name: "blue", listeners: [listener(19_001)], joinTokens: [tokenOf("a", "blue-token")] },
        {
          name: "red",
          listeners: [listener(19_002)],
          joinTokens: [tokenOf("a", "red-token"), tokenOf("b", "red-two")],
        },
      ],
    },
  });
  return running;
}

/** What a node of a group gets: the names of its listeners, or why its stream ended. */
async function joinAs(running: Running, cluster: string, more: Parameters<Running["delta"]>[0] = {}) {
  const client = running.delta({ node: { id: `of-${cluster}`, cluster }, ...more });
  client.send({ typeUrl: LDS });
  await Promise.race([client.end(), client.until(() => client.responses.length > 0).catch(() => undefined)]);
  if (client.ended !== undefined) return reason(client.ended);
  return client.responses[0]?.resources.map(({ name }) => name).join();
}

const bearer = (token: string) => ({ metadata: { authorization: `Bearer ${token}` } });

test("a token lets into its own group and into no other, and nothing is told of the other", async () => {
  await using running = await withGroups();
  expect(await joinAs(running, "blue", bearer("blue-token"))).toBe("http");
  expect(await joinAs(running, "red", bearer("red-two"))).toBe("http");
  expect(await joinAs(running, "red", bearer("blue-token"))).toBe(
    'PERMISSION_DENIED: the join token is not for the gateway group "red"',
  );
  expect(await joinAs(running, "red", bearer(""))).toMatch(/^UNAUTHENTICATED/);
  expect(await joinAs(running, "red")).toMatch(/^UNAUTHENTICATED: joining the gateway group "red" takes a join token/);
  // On loopback a group without tokens is open.
  expect(await joinAs(running, "default")).toBe("http");
});

test("a token that is deleted cuts off those who joined with it, and a new one lets in", async () => {
  await using running = await withGroups();
  const one = running.delta({ node: { id: "one", cluster: "red" }, ...bearer("red-token") });
  const two = running.delta({ node: { id: "two", cluster: "red" }, ...bearer("red-two") });
  for (const client of [one, two]) {
    client.send({ typeUrl: LDS });
    await client.next();
  }
  const group = (...joinTokens: ReturnType<typeof tokenOf>[]) =>
    running.gateways.apply({
      gateway: { gatewayGroups: [{ name: "red", listeners: [{ name: "http", port: 19_002 }], joinTokens }] },
    });
  await group(tokenOf("b", "red-two"), tokenOf("c", "red-three"));
  expect(reason(await one.end())).toMatch(/^PERMISSION_DENIED/);
  expect(await joinAs(running, "red", bearer("red-three"))).toBe("http");
  expect(two.ended).toBeUndefined();
  // A file that names no tokens takes none away.
  await group();
  expect(await joinAs(running, "red")).toMatch(/^UNAUTHENTICATED/);
  expect(two.ended).toBeUndefined();
});

test("over TLS nobody joins without credentials, whatever the group", async () => {
  await using running = await withGroups({ xdsTlsCert: file("server.pem"), xdsTlsKey: file("server.key") });
  const channel = credentials.createSsl(Buffer.from(authority.cert));
  expect(await joinAs(running, "blue", { channel, ...bearer("blue-token") })).toBe("http");
  expect(await joinAs(running, "blue", { channel })).toMatch(/^UNAUTHENTICATED/);
  expect(await joinAs(running, "default", { channel })).toMatch(/^UNAUTHENTICATED/);
  expect(await joinAs(running, "no-such-group", { channel, ...bearer("blue-token") })).toMatch(/^PERMISSION_DENIED/);
  // Plain text finds no server, nor does a client that trusts somebody else.
  expect(await joinAs(running, "blue", bearer("blue-token"))).toMatch(/^UNAVAILABLE/);
  const elsewhere = credentials.createSsl(Buffer.from(strangers.cert));
  expect(await joinAs(running, "blue", { channel: elsewhere, ...bearer("blue-token") })).toMatch(/^UNAVAILABLE/);
});

test("a client's certificate is needed where an authority is named, and its URI is a group's key", async () => {
  await using running = await withGroups({
    xdsTlsCert: file("server.pem"),
    xdsTlsKey: file("server.key"),
    xdsClientCa: file("ca.pem"),
  });
  const ca = Buffer.from(authority.cert);
  const blue = await issue("blue", ["URI:spiffe://example.org/gateway-group/blue"]);
  const asBlue = credentials.createSsl(ca, blue.key, blue.cert);
  expect(await joinAs(running, "blue", { channel: asBlue })).toBe("http");
  expect(await joinAs(running, "red", { channel: asBlue })).toBe(
    'PERMISSION_DENIED: the certificate is not for the gateway group "red"',
  );
  // A certificate that is for no group needs a token besides.
  const any = await issue("any", ["DNS:any.example.org"]);
  const asAny = credentials.createSsl(ca, any.key, any.cert);
  expect(await joinAs(running, "blue", { channel: asAny })).toMatch(/^UNAUTHENTICATED/);
  expect(await joinAs(running, "blue", { channel: asAny, ...bearer("blue-token") })).toBe("http");
  // None at all, and one of another authority, do not get as far as that.
  expect(await joinAs(running, "blue", { channel: credentials.createSsl(ca), ...bearer("blue-token") })).toMatch(
    /^UNAVAILABLE/,
  );
  const forged = await issue("forged", ["URI:spiffe://example.org/gateway-group/blue"], strangers);
  const asForged = credentials.createSsl(ca, forged.key, forged.cert);
  expect(await joinAs(running, "blue", { channel: asForged })).toMatch(/^UNAVAILABLE/);
});

test("the server's certificate is read again when its file changes; a bad one changes nothing", async () => {
  await issue("changing", ["IP:127.0.0.1"]);
  await using running = await withGroups({ xdsTlsCert: file("changing.pem"), xdsTlsKey: file("changing.key") });
  const shown = () =>
    new Promise<string>((resolve, reject) => {
      const [host = "", port = ""] = running.plane.xdsAddress.split(":");
      const socket = connect({ host, port: Number(port), ca: authority.cert, ALPNProtocols: ["h2"] }, () => {
        const { serialNumber }: PeerCertificate = socket.getPeerCertificate();
        socket.destroy();
        resolve(serialNumber);
      });
      socket.on("error", reject);
    });
  const before = await shown();
  await writeFile(file("changing.pem"), "nonsense");
  await issue("changing", ["IP:127.0.0.1"]);
  await waitFor("the new certificate", async () => (await shown()) !== before);
  const channel = credentials.createSsl(Buffer.from(authority.cert));
  expect(await joinAs(running, "blue", { channel, ...bearer("blue-token") })).toBe("http");
});

test("REST over TLS lets in as gRPC does, by token or by certificate", async () => {
  const files = { xdsTlsCert: file("server.pem"), xdsTlsKey: file("server.key") };
  const post = (running: Running, cluster: string, options: RequestOptions) =>
    new Promise<string>((resolve, reject) => {
      const [host, port] = running.plane.xdsAddress.split(":");
      const path = "/v3/discovery:listeners";
      const request = httpsRequest({ host, port, path, method: "POST", ca: authority.cert, ...options }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve(`${response.statusCode} ${text}`));
      });
      request.on("error", reject);
      request.end(JSON.stringify({ node: { id: "rest", cluster } }));
    });
  const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
  /** A write is answered once it is kept; until it is published there is nothing for anybody. */
  const postOncePublished = (...request: Parameters<typeof post>) =>
    waitFor("the group to be published", async () => {
      const answer = await post(...request);
      return answer.startsWith("503") ? undefined : answer;
    });
  {
    await using running = await withGroups(files);
    expect(await postOncePublished(running, "blue", bearer("blue-token"))).toMatch(/^200 .*"http"/);
    expect(await post(running, "red", bearer("blue-token"))).toMatch(/^403 the join token is not for/);
    expect(await post(running, "default", {})).toMatch(/^401 /);
    // On the same port gRPC goes on.
    const channel = credentials.createSsl(Buffer.from(authority.cert));
    expect(await joinAs(running, "blue", { channel, metadata: { authorization: "Bearer blue-token" } })).toBe("http");
  }
  await using running = await withGroups({ ...files, xdsClientCa: file("ca.pem") });
  const blue = await issue("rest-blue", ["URI:spiffe://example.org/gateway-group/blue"]);
  expect(await postOncePublished(running, "blue", blue)).toMatch(/^200 .*"http"/);
  expect(await post(running, "red", blue)).toMatch(/^403 the certificate is not for/);
  await expect(post(running, "blue", bearer("blue-token"))).rejects.toThrow();
});
