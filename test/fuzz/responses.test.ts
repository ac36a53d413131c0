/**
 * Differential fuzzing of responses: the same bytes by an origin through a whole data path, and to llhttp as a client. Whatever ours passes on
 * as whole, llhttp reads the same way, or the case is explained below.
 *
 * SLUICE_FUZZ_RESPONSES=100000 SLUICE_FUZZ_SEED=7 vitest run --config test/vitest.config.ts test/fuzz/responses
 */
import type { Socket } from "node:net";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../support/data-path.ts";
import { RawClient } from "../support/raw-client.ts";
import { until } from "../support/wait.ts";
import { withoutExceptions } from "./exceptions.ts";
import { readByLlhttp, type ResponseReading } from "./llhttp-client.ts";
import { type RawResponse, responses } from "./response-mutations.ts";

const CASES = Number(process.env["SLUICE_FUZZ_RESPONSES"] ?? 2_000);
const SEED = Number(process.env["SLUICE_FUZZ_SEED"] ?? 20261121);
const TIMEOUT_MS = 3_600_000;
const FINDINGS_MAX = 20;

/** What the origin sends next. */
let pieces: Buffer[] = [];
let origin: TestServer;
let path: DataPath;

beforeAll(async () => {
  origin = await TestServer.raw((socket) => {
    let input = "";
    socket.on("data", (bytes) => {
      input += bytes.toString("latin1");
      if (input.endsWith("\r\n\r\n")) write(socket, pieces);
    });
  });
  path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
});

afterAll(async () => {
  await path?.[Symbol.asyncDispose]();
  await origin?.[Symbol.asyncDispose]();
});

function write(socket: Socket, [first, ...others]: readonly Buffer[]): void {
  if (first === undefined) return void socket.end();
  socket.write(first, () => setImmediate(() => write(socket, others)));
}

/** What a client gets of it; undefined: the proxy passed on no whole response. */
async function readByOurs({ method, bytes, cuts }: RawResponse): Promise<ResponseReading | undefined> {
  const all = Buffer.from(bytes, "latin1");
  const ends = [...cuts.map((cut) => cut % (all.length + 1)), all.length].toSorted((a, b) => a - b);
  pieces = ends.map((end, i) => all.subarray(ends[i - 1] ?? 0, end)).filter(({ length }) => length > 0);
  using client = new RawClient(path.port);
  const text = await client.send(`${method} / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`).end();
  await until(() => path.records.length > 0 && path.stats.get("upstream_cx_active") === 0);
  const flags = path.records.splice(0).flatMap((record) => record.flags);
  return flags.length > 0 ? undefined : parse(text, method);
}

/** Reads what the proxy wrote, whose form is known; throws where it isn't that. */
function parse(text: string, method: string): ResponseReading {
  const end = text.indexOf("\r\n\r\n");
  const [line = "", ...lines] = text.slice(0, end).split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1]);
  if (status < 200) return parse(text.slice(end + 4), method);
  const fields = lines.map((each) => each.split(/: ?(.*)/s, 2) as [string, string]);
  const rest = text.slice(end + 4);
  const bodiless = method === "HEAD" || status === 204 || status === 304;
  const isChunked = !bodiless && fields.some(([name]) => name === "transfer-encoding");
  const length = fields.find(([name]) => name.toLowerCase() === "content-length")?.[1];
  const body = isChunked ? unchunk(rest) : rest;
  if (!isChunked && !bodiless && body.length !== Number(length)) throw new Error(`${length}: ${text}`);
  return { status, fields: fields.map(([name, value]) => [name.toLowerCase(), value]), body, complete: true };
}

function unchunk(text: string): string {
  let body = "";
  for (let at = 0; ; ) {
    const line = text.indexOf("\r\n", at);
    const size = Number.parseInt(text.slice(at, line), 16);
    if (line < 0 || Number.isNaN(size)) throw new Error(`no chunk: ${text.slice(at)}`);
    if (size === 0) return body;
    body += text.slice(line + 2, line + 2 + size);
    at = line + 4 + size;
  }
}

/** Fields of the message itself; others are of the connection or of the proxy. */
const own = ({ fields }: ResponseReading): string =>
  JSON.stringify(fields.filter(([name]) => /^(x-(?!envoy-)|content-type$)/.test(name)));

function difference(ours: ResponseReading, theirs: ResponseReading | undefined): string | undefined {
  if (theirs === undefined) return "refused";
  if (ours.status !== theirs.status) return `status ${ours.status}, ${theirs.status}`;
  if (ours.body !== theirs.body) return `body ${JSON.stringify(ours.body)}, ${JSON.stringify(theirs.body)}`;
  if (!theirs.complete) return "only ours is complete";
  const named = theirs.fields.some(([name, value]) => name === "connection" && /x-a/i.test(value));
  return named || own(ours) === own(theirs) ? undefined : `fields ${own(ours)}, ${own(theirs)}`;
}

/** What is explained of responses alone. */
const exception = {
  why: "llhttp takes HTTP/1.0 103 for the last response of its connection; nobody else does (RFC 9110, 15.2: only 101 ends what HTTP is)",
  rewrite: (bytes: string) => bytes.replaceAll(/(?<=^|\r\n\r\n)HTTP\/1\.0(?= 1\d\d)/g, "HTTP/1.1"),
  example: "HTTP/1.0 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
};

let accepted = 0;

/** What is wrong with how a response is read; "" if nothing. */
async function examine(response: RawResponse): Promise<string> {
  const { bytes, method } = response;
  const ours = await readByOurs(response);
  if (ours === undefined) return "";
  accepted++;
  const theirs = (text: string) => readByLlhttp(Buffer.from(text, "latin1"), method);
  const differs = difference(ours, await theirs(bytes));
  if (differs === undefined) return "";
  // As with requests: the difference must go with what the exceptions take away, and ours not change by it.
  const rewritten = exception.rewrite(withoutExceptions(bytes));
  const again = rewritten === bytes ? undefined : await readByOurs({ ...response, bytes: rewritten });
  if (again !== undefined && difference(again, ours) === undefined) {
    if (difference(again, await theirs(rewritten)) === undefined) return "";
  }
  return `${method} ${JSON.stringify(bytes.slice(0, 500))}\n    ${differs}\n`;
}

test(`${CASES} generated responses`, { timeout: TIMEOUT_MS }, async () => {
  const findings: string[] = [];
  accepted = 0;
  for (const response of fc.sample(responses, { seed: SEED, numRuns: CASES })) {
    const finding = await examine(response);
    if (finding !== "") findings.push(finding);
    if (findings.length >= FINDINGS_MAX) break;
  }
  expect(findings.join("")).toBe("");
  expect(accepted).toBeGreaterThan(CASES / 4);
});

test(exception.why, async () => {
  const { example, rewrite } = exception;
  expect(await readByLlhttp(Buffer.from(example), "GET")).toBeUndefined();
  expect(await readByLlhttp(Buffer.from(rewrite(example)), "GET")).toMatchObject({ status: 200, body: "ok" });
  expect(await examine({ method: "GET", bytes: example, cuts: [] })).toBe("");
});
