import net from "node:net";

/** One response on a raw connection. */
export interface RawResponse {
  status: number;
  close: boolean;
  /** Names of the fields, lowered, as they came. */
  names: string[];
  body: string;
}

/** What came of sending bytes to a data plane. */
export interface Outcome {
  responses: RawResponse[];
  /** `usable`: the request that was put behind the bytes was answered; `waiting`: neither that nor closed. */
  end: "usable" | "closed" | "waiting";
  /** What could not be read as a response, "" if all could. */
  garbage: string;
  /** When the first pieces of the answer came, in ms from the beginning. */
  dataAtMs: number[];
}

/** Pieces whose time is noted. */
const NOTED_MAX = 10;

/** Response bytes of the last probes hold no more than this. */
const ANSWER_BYTES_MAX = 1_000_000;

/**
 * Writes the pieces one after the other, as separate segments where the kernel agrees, and reads until the answer to `last` (a text that
 * only that answer's body has) is there, the peer closes or says that it will, or nothing has come for `quietMs`.
 */
export function probe(port: number, pieces: readonly Buffer[], last: string, quietMs: number): Promise<Outcome> {
  return new Promise((resolve) => {
    let got = "";
    const begunMs = performance.now();
    const dataAtMs: number[] = [];
    const socket = net.connect(port, "127.0.0.1");
    socket.setNoDelay(true);
    socket.setEncoding("latin1");
    const finish = (end: Outcome["end"]) => {
      clearTimeout(quiet);
      socket.destroy();
      resolve({ ...parseResponses(got), end, dataAtMs });
    };
    let quiet = setTimeout(() => finish("waiting"), quietMs);
    socket.on("connect", () => writeAll(socket, pieces));
    socket.on("data", (text: string) => {
      quiet.refresh();
      if (dataAtMs.length < NOTED_MAX) dataAtMs.push(Math.round(performance.now() - begunMs));
      got += text;
      if (got.includes(last)) return finish("usable");
      const { responses } = parseResponses(got);
      if (responses.at(-1)?.close === true || got.length > ANSWER_BYTES_MAX) finish("closed");
    });
    socket.on("error", () => finish("closed"));
    socket.on("close", () => finish("closed"));
  });
}

function writeAll(socket: net.Socket, pieces: readonly Buffer[]): void {
  const [first, ...others] = pieces;
  if (first === undefined || socket.destroyed) return;
  socket.write(first, () => {
    if (others.length > 0) setImmediate(() => writeAll(socket, others));
  });
}

/**
 * Reads a sequence of responses. Whether a response answers HEAD can't be seen from it; with `heads`, one whose declared body is missing
 * because the next status line or the end follows counts as such.
 */
export function parseResponses(text: string, heads = true): { responses: RawResponse[]; garbage: string } {
  const responses: RawResponse[] = [];
  let rest = text;
  while (rest !== "") {
    const end = rest.indexOf("\r\n\r\n");
    const status = /^HTTP\/1\.[01] (\d{3})[^\r\n]*\r\n/.exec(rest);
    if (status === null || end < 0) return { responses, garbage: rest.slice(0, 200) };
    const lines = rest.slice(0, end).split("\r\n").slice(1);
    const fields = lines.map((line) => line.toLowerCase().split(/:\s*/, 2) as [string, string]);
    const of = (name: string) => fields.find(([key]) => key === name)?.[1];
    rest = rest.slice(end + 4);
    const code = Number(status[1]);
    const response = {
      status: code,
      close: of("connection") === "close",
      names: fields.map(([name]) => name),
      body: "",
    };
    const isHead = heads && (rest === "" || rest.startsWith("HTTP/1."));
    if (code !== 204 && code !== 304 && code >= 200 && !isHead) {
      if (of("transfer-encoding") === "chunked") {
        const chunked = readChunked(rest);
        if (chunked === undefined) return { responses, garbage: rest.slice(0, 200) };
        response.body = chunked.body;
        rest = chunked.rest;
      } else {
        const length = Number(of("content-length") ?? rest.length);
        if (rest.length < length) return { responses, garbage: "" };
        response.body = rest.slice(0, length);
        rest = rest.slice(length);
      }
    }
    responses.push(response);
    if (code === 101) return { responses: [...responses.slice(0, -1), { ...response, body: rest }], garbage: "" };
  }
  return { responses, garbage: "" };
}

function readChunked(text: string): { body: string; rest: string } | undefined {
  let body = "";
  let rest = text;
  for (;;) {
    const size = /^([0-9a-f]+)\r\n/i.exec(rest);
    if (size === null) return undefined;
    const length = Number.parseInt(size[1] as string, 16);
    rest = rest.slice(size[0].length);
    if (rest.length < length + 2) return undefined;
    body += rest.slice(0, length);
    rest = rest.slice(length + 2);
    if (length === 0) return { body, rest };
  }
}
