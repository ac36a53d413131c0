import { expect, test } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { parseKubeconfig } from "./kubeconfig.ts";

const signal = new AbortController().signal;

const config = (cluster: string, user: string, more = "") => `
apiVersion: v1
kind: Config
current-context: here
contexts:
  - { name: here, context: { cluster: c, user: u, namespace: shop } }
  - { name: other, context: { cluster: d, user: u } }
clusters:
  - { name: c, cluster: { server: "https://c.example:6443"${cluster} } }
  - { name: d, cluster: { server: "https://[fd00::1]/k8s/clusters/d" } }
users:
  - { name: u, user: { ${user} } }
${more}`;

const problemsOf = (text: string, options = {}) => {
  const result = parseKubeconfig(text, options);
  return result.ok ? [] : result.problems.map(({ field, message }) => `${field}: ${message}`);
};

test("takes the current context, or the one that is asked for", async () => {
  const result = parseKubeconfig(config(', tls-server-name: "kube"', "token: abc"));
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const { access } = result;
  expect(access).toMatchObject({ serverName: "kube", insecureSkipTlsVerify: false, namespace: "shop" });
  expect(access.server.href).toBe("https://c.example:6443/");
  expect(await access.credentials.get(signal)).toEqual({ authorization: "Bearer abc" });

  const other = parseKubeconfig(config("", "token: abc"), { context: "other" });
  expect(other.ok && other.access.server.pathname).toBe("/k8s/clusters/d");
  expect(other.ok && other.access.namespace).toBe("default");
});

test("names what is missing, and the contexts that there are", () => {
  expect(problemsOf(config("", ""), { context: "nope" })).toEqual([
    'context: no context "nope" here; there are: here, other',
  ]);
  expect(problemsOf("apiVersion: v1")).toEqual(["current-context: is missing"]);
  expect(problemsOf("[]")).toEqual([": is no kubeconfig"]);
  expect(problemsOf("clusters: 7")).toEqual([": clusters: must be a list"]);
});

test("reports all problems at once, and no secret", () => {
  const problems = problemsOf(
    config(
      ', insecure-skip-tls-verify: true, proxy-url: "http://p", certificate-authority-data: bm8=',
      "username: u, password: s3cret",
    ),
  );
  expect(problems).toEqual([
    "clusters[c].proxy-url: is not supported",
    "clusters[c].insecure-skip-tls-verify: is refused unless the registry allows it too",
    "clusters[c].certificate-authority-data: is no PEM in base64",
    "clusters[c].certificate-authority: holds no certificate",
    "users[u].username: is not supported",
    "users[u].password: is not supported",
  ]);
  expect(problems.join()).not.toContain("s3cret");
  expect(problemsOf("a: b: token: s3cret").join()).not.toContain("s3cret");
});

test("one that came over the network names no files and runs nothing", () => {
  const exec = 'exec: { apiVersion: client.authentication.k8s.io/v1, command: "/bin/true" }';
  expect(problemsOf(config("", exec))).toEqual([expect.stringMatching(/^users\[u\]\.exec: names a program/)]);
  expect(problemsOf(config("", "tokenFile: /etc/shadow"))).toEqual([
    expect.stringMatching(/^users\[u\]\.tokenFile: names a file/),
  ]);
  expect(problemsOf(config(", certificate-authority: /etc/ssl/ca.pem", "token: abc"))).toEqual([
    expect.stringMatching(/^clusters\[c\]\.certificate-authority: names a file/),
  ]);
});

test("reads the files that it names, relative to its own folder", () => {
  const read: string[] = [];
  const readFile = (path: string) => {
    read.push(path);
    throw Object.assign(new Error("no"), { code: "ENOENT" });
  };
  const problems = problemsOf(config(", certificate-authority: pki/ca.crt", "tokenFile: /abs/token"), {
    readFile,
    folder: "/home/op/.kube",
  });
  expect(read).toEqual(["/home/op/.kube/pki/ca.crt", "/abs/token"]);
  expect(problems).toEqual([
    "clusters[c].certificate-authority: /home/op/.kube/pki/ca.crt: ENOENT",
    "users[u].tokenFile: /abs/token: ENOENT",
  ]);
});

test("a client certificate needs its key", () => {
  const pem = Buffer.from("-----BEGIN CERTIFICATE-----\n").toString("base64");
  expect(problemsOf(config("", `client-certificate-data: ${pem}`))).toEqual([
    "users[u].client-certificate: a client certificate and its key go together",
  ]);
});

test("certificates to trust are read again from their file, and those before count while it can't be read", () => {
  using one = new TestAuthority();
  using two = new TestAuthority();
  let now: string | undefined = one.cert;
  const readFile = () => {
    if (now === undefined) throw Object.assign(new Error("no"), { code: "ENOENT" });
    return now;
  };
  const result = parseKubeconfig(config(", certificate-authority: ca.crt", "token: abc"), { readFile });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  now = two.cert;
  expect([result.access.ca, result.access.readCa?.()]).toEqual([one.cert, two.cert]);
  now = undefined;
  expect(result.access.readCa?.()).toBeUndefined();
});

test("a client certificate in files is read again when it is renewed there", async () => {
  const files = new Map([
    ["/pki/a.crt", "-----BEGIN CERTIFICATE-----\nold"],
    ["/pki/a.key", "-----BEGIN KEY-----\nold"],
  ]);
  const readFile = (path: string) => {
    const text = files.get(path);
    if (text === undefined) throw Object.assign(new Error("no"), { code: "ENOENT" });
    return text;
  };
  const user = "client-certificate: a.crt, client-key: a.key";
  const result = parseKubeconfig(config("", user), { readFile, folder: "/pki" });
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  const { credentials } = result.access;
  expect(await credentials.get(signal)).toMatchObject({ certificate: expect.stringContaining("old") });
  files.set("/pki/a.crt", "-----BEGIN CERTIFICATE-----\nnew").set("/pki/a.key", "-----BEGIN KEY-----\nnew");
  expect(await credentials.get(signal)).toEqual({
    certificate: "-----BEGIN CERTIFICATE-----\nnew",
    key: "-----BEGIN KEY-----\nnew",
  });
  files.delete("/pki/a.key");
  await expect(credentials.get(signal)).rejects.toMatchObject({
    kind: "unauthenticated",
    message:
      "kubeconfig: users[u].client-key: /pki/a.key: ENOENT; users[u].client-certificate: a client certificate and its key go together",
  });
});
