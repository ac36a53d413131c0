/** What operators read when an address, a port or an authority is wrong. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { KubeScript } from "../test/support/kube-script.ts";
import { ConsulSource } from "./consul/source.ts";
import { KubernetesSource } from "./kubernetes/source.ts";
import { networkWords } from "./network-words.ts";
import type { Source } from "./source.ts";

let secure: KubeScript;
const plain = createServer((_, response) => response.end("<html>a web page</html>"));
const at = (protocol: "http" | "https", host = "127.0.0.1") =>
  `${protocol}://${host}:${(plain.address() as AddressInfo).port}`;

beforeAll(async () => {
  secure = await KubeScript.start();
  plain.listen(0, "127.0.0.1");
  await once(plain, "listening");
});
afterAll(async () => {
  await secure.close();
  plain.close();
});

async function problemOf(source: Source): Promise<string> {
  const problem = await source.probe(AbortSignal.timeout(60_000)).then(
    () => "none",
    (error: unknown) => String(error),
  );
  await source.close();
  return problem;
}

test("an https address of a plain port, and the other way round, are told as such", async () => {
  const words = "the server doesn't speak TLS at this port";
  expect(await problemOf(new ConsulSource({ addresses: [at("https")] }))).toContain(`${at("https")}: ${words}`);
  const access = { ...secure.access(), server: new URL(at("https")) };
  expect(await problemOf(new KubernetesSource({ access }))).toContain(`${at("https")}: ${words}`);
  const insecure = secure.access().server.origin.replace("https", "http");
  expect(await problemOf(new ConsulSource({ addresses: [insecure] }))).toContain("does it speak TLS at this port");
});

test("an unknown authority and a name that the certificate lacks are told with what to set", async () => {
  const { origin } = secure.access().server;
  expect(await problemOf(new ConsulSource({ addresses: [origin] }))).toContain(
    "give the registry's tls.ca_certificates",
  );
  const { ca: _, ...untrusted } = secure.access();
  expect(await problemOf(new KubernetesSource({ access: untrusted }))).toContain(
    "the kubeconfig's certificate-authority",
  );
  const access = { ...secure.access(), serverName: "other.test" };
  expect(await problemOf(new KubernetesSource({ access }))).toContain("tls.server_name");
});

test("a server that is something else is told by how it answers", async () => {
  expect(await problemOf(new ConsulSource({ addresses: [at("http")] }))).toContain("the answer is not JSON");
});

test.each([
  ["UND_ERR_HEADERS_TIMEOUT", "gave no answer in time"],
  ["ENOTFOUND", "no name server knows the host's name"],
])("%s is told in words", (code, words) => {
  expect(networkWords(Object.assign(new Error("Headers Timeout Error"), { code }))).toContain(words);
});
