import dgram from "node:dgram";
import net from "node:net";

/** A record in a zone of a test. */
export type ScriptedRecord =
  | { readonly a: string; readonly ttl?: number }
  | { readonly aaaa: string; readonly ttl?: number }
  | { readonly cname: string; readonly ttl?: number }
  | { readonly srv: readonly [priority: number, weight: number, port: number, target: string]; readonly ttl?: number };

/** What the server answers to a question other than what its records say. */
type Refusal = "silence" | "servfail" | "formerr" | "refused";

const refusals: Readonly<Record<Exclude<Refusal, "silence">, number>> = { formerr: 1, servfail: 2, refused: 5 };
const types = { a: 1, cname: 5, aaaa: 28, srv: 33 } as const;

const u16 = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.of(value >> 8, value & 0xff)));
const u32 = (value: number) => u16(Math.floor(value / 0x1_0000), value & 0xffff);
const nameBytes = (text: string) =>
  Buffer.concat([
    ...text.split(".").flatMap((label) => (label === "" ? [] : [Buffer.of(label.length), Buffer.from(label)])),
    Buffer.of(0),
  ]);

/** A name server that knows what a test tells it: one zone, without recursion. Over UDP and TCP on one port. */
export class ScriptedDns implements AsyncDisposable {
  readonly records = new Map<string, readonly ScriptedRecord[]>();
  /** By "name TYPE", such as "a.test 28"; or "edns" for every question that has an OPT record. */
  readonly refused = new Map<string, Refusal>();
  /** "name TYPE" of each question, with "tcp" where it came so. */
  readonly asked: string[] = [];
  /** Seconds for which nothing holds; undefined: no SOA record. */
  negativeTtl: number | undefined = 1;
  readonly #udp: dgram.Socket;
  readonly #tcp = net.createServer((socket) => this.#serve(socket));
  readonly #sockets = new Set<net.Socket>();
  readonly #host: string;
  #port = 0;

  private constructor(host: string) {
    this.#host = host;
    this.#udp = dgram.createSocket(net.isIPv6(host) ? "udp6" : "udp4");
    this.#udp.on("message", (bytes, { port, address }) => {
      const answer = this.#answer(bytes, "udp");
      if (answer !== undefined) this.#udp.send(answer, port, address);
    });
  }

  static async start(host = "127.0.0.1"): Promise<ScriptedDns> {
    for (;;) {
      const made = new ScriptedDns(host);
      await new Promise<void>((resolve) => made.#udp.bind(0, host, resolve));
      made.#port = made.#udp.address().port;
      // The same port may be taken for TCP.
      const isFree = await new Promise<boolean>((resolve) => {
        made.#tcp.once("error", () => resolve(false)).listen(made.#port, host, () => resolve(true));
      });
      if (isFree) return made;
      made.#udp.close();
    }
  }

  /** As a resolver in a registry. */
  get address(): string {
    return net.isIPv6(this.#host) ? `[${this.#host}]:${this.#port}` : `${this.#host}:${this.#port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#udp.close();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#tcp.close(resolve));
  }

  #serve(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
    socket.once("data", (chunk) => {
      // On a busy machine somebody may take the port for what another program had there.
      if (chunk.length < 2 || chunk.readUInt16BE(0) !== chunk.length - 2) return socket.destroy();
      const answer = this.#answer(chunk.subarray(2), "tcp");
      return answer === undefined ? undefined : socket.end(Buffer.concat([u16(answer.length), answer]));
    });
  }

  #answer(query: Buffer, over: "udp" | "tcp"): Buffer | undefined {
    const { name, end } = readName(query, 12);
    const type = query.readUInt16BE(end);
    const hasEdns = query.readUInt16BE(10) > 0;
    this.asked.push(`${name} ${type}${over === "tcp" ? " tcp" : ""}`);
    const refusal = (hasEdns ? this.refused.get("edns") : undefined) ?? this.refused.get(`${name} ${type}`);
    if (refusal === "silence") return undefined;
    const question = query.subarray(12, end + 4);
    const id = query.readUInt16BE(0);
    // Who understands nothing repeats no question.
    if (refusal === "formerr") return u16(id, 0x8181, 0, 0, 0, 0);
    if (refusal !== undefined) return Buffer.concat([u16(id, 0x8180 | refusals[refusal], 1, 0, 0, 0), question]);
    const records = this.records.get(name);
    const answers = (records ?? []).filter((record) => typeOf(record) === type || "cname" in record);
    const soa = answers.length > 0 || this.negativeTtl === undefined ? [] : [this.#soa(this.negativeTtl)];
    const body = Buffer.concat([...answers.map((record) => encoded(name, record)), ...soa]);
    const isTooLong = over === "udp" && body.length > (hasEdns ? 1_232 : 512) - 100;
    const flags = 0x8180 | (records === undefined ? 3 : 0) | (isTooLong ? 0x0200 : 0);
    if (isTooLong) return Buffer.concat([u16(id, flags, 1, 0, 0, 0), question]);
    return Buffer.concat([u16(id, flags, 1, answers.length, soa.length, 0), question, body]);
  }

  #soa(ttl: number): Buffer {
    const data = Buffer.concat([nameBytes("ns"), nameBytes("mail"), u32(1), u32(2), u32(3), u32(4), u32(ttl)]);
    return Buffer.concat([nameBytes("test"), u16(6, 1), u32(ttl), u16(data.length), data]);
  }
}

const typeOf = (record: ScriptedRecord): number =>
  "a" in record ? types.a : "aaaa" in record ? types.aaaa : "cname" in record ? types.cname : types.srv;

function encoded(owner: string, record: ScriptedRecord): Buffer {
  const data = dataOf(record);
  return Buffer.concat([nameBytes(owner), u16(typeOf(record), 1), u32(record.ttl ?? 60), u16(data.length), data]);
}

function dataOf(record: ScriptedRecord): Buffer {
  if ("a" in record) return Buffer.from(record.a.split(".").map(Number));
  if ("aaaa" in record) {
    const [head = "", tail = ""] = record.aaaa.split("::");
    const groups = (text: string) => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
    const [left, right] = [groups(head), groups(tail)];
    return u16(...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right);
  }
  if ("cname" in record) return nameBytes(record.cname);
  const [priority, weight, port, target] = record.srv;
  return Buffer.concat([u16(priority, weight, port), nameBytes(target)]);
}

function readName(bytes: Buffer, start: number): { name: string; end: number } {
  const labels: string[] = [];
  let at = start;
  for (let size = bytes.readUInt8(at); size > 0; size = bytes.readUInt8(at)) {
    labels.push(bytes.toString("latin1", at + 1, at + 1 + size).toLowerCase());
    at += size + 1;
  }
  return { name: labels.join("."), end: at + 1 };
}
