import { readFileSync } from "node:fs";
import { join } from "node:path";

import fc from "fast-check";
import { expect, test } from "vitest";

import { DiscoveryError } from "../source.ts";
import { decodeAnswer, encodeQuery, questionText } from "./message.ts";

const name = (text: string) =>
  Buffer.concat([
    ...text.split(".").map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label)])),
    Buffer.of(0),
  ]);
const u16 = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.of(value >> 8, value & 0xff)));
const record = (owner: Buffer, type: number, ttlS: number, data: Buffer) =>
  Buffer.concat([owner, u16(type, 1, 0, ttlS, data.length), data]);

/** An answer to "db.test", its name pointed to. */
function answer(type: number, flags: number, answers: readonly Buffer[], authority: readonly Buffer[] = []): Buffer {
  const head = u16(7, 0x8180 | flags, 1, answers.length, authority.length, 0);
  return Buffer.concat([head, name("db.test"), u16(type, 1), ...answers, ...authority]);
}

const pointer = u16(0xc00c);

test("a query asks one question, with recursion and EDNS", () => {
  const query = encodeQuery(0x1234, "Db.test.", "AAAA");
  expect(query.toString("hex")).toBe(
    `1234 0100 0001 0000 0000 0001 ${name("Db.test").toString("hex")} 001c 0001 00 0029 04d0 00000000 0000`.replaceAll(
      " ",
      "",
    ),
  );
  expect(() => encodeQuery(1, "a..b", "A")).toThrow(DiscoveryError);
});

test("addresses, aliases and services are read, with their times and through pointers", () => {
  const srv = Buffer.concat([u16(1, 5, 8080), name("n1.db.test")]);
  const soa = record(pointer, 6, 60, Buffer.concat([name("ns"), name("mail"), u16(0, 1, 0, 2, 0, 3, 0, 4, 0, 9)]));
  expect(decodeAnswer(answer(1, 0, [record(pointer, 1, 30, Buffer.of(10, 0, 0, 1))]))).toMatchObject({
    ...{ id: 7, code: 0, isTruncated: false, question: questionText("DB.test.", "A") },
    answers: [{ type: "address", name: "db.test", ttlS: 30, address: "10.0.0.1" }],
  });
  const v6 = Buffer.concat([u16(0x2001, 0xdb8), Buffer.alloc(11), Buffer.of(1)]);
  expect(decodeAnswer(answer(28, 0, [record(pointer, 28, 30, v6)])).answers).toMatchObject([
    { address: "2001:db8::1" },
  ]);
  expect(decodeAnswer(answer(33, 0, [record(pointer, 33, 5, srv)])).answers).toMatchObject([
    { type: "srv", ttlS: 5, priority: 1, weight: 5, port: 8080, target: "n1.db.test" },
  ]);
  expect(decodeAnswer(answer(1, 3, [], [soa]))).toMatchObject({ code: 3, answers: [], negativeTtlS: 9 });
  expect(decodeAnswer(answer(1, 0x0200, [])).isTruncated).toBe(true);
});

test("what a real server answers is read: addresses, services, none, no such name, too much and a refusal", () => {
  const file = join(import.meta.dirname, "testdata/dnsmasq.json");
  const recorded = JSON.parse(readFileSync(file, "utf8")) as Record<string, string>;
  const read = (which: string) => decodeAnswer(Buffer.from(recorded[which] ?? "", "hex"));
  expect(read("a")).toMatchObject({
    ...{ id: 7, code: 0, isTruncated: false, question: questionText("one.test", "A"), negativeTtlS: undefined },
    answers: [{ type: "address", name: "one.test", ttlS: 1, address: "10.0.0.1" }],
  });
  expect(read("aaaa").answers).toMatchObject([{ address: "2001:db8::1" }]);
  expect(read("no-aaaa")).toMatchObject({ code: 0, answers: [] });
  // Beside the services it gives addresses of their targets, which are asked for by themselves.
  const services = read("srv").answers.filter(({ type }) => type === "srv");
  expect(services).toMatchObject([
    { priority: 2, weight: 0, port: 8081, target: "two.test" },
    { priority: 1, weight: 5, port: 8080, target: "one.test" },
  ]);
  expect(read("no-such-name")).toMatchObject({ code: 3, answers: [], negativeTtlS: undefined });
  expect(read("truncated")).toMatchObject({ code: 0, isTruncated: true });
  expect(read("refused")).toMatchObject({ code: 5, answers: [] });
});

test("a name that goes by more pointers than it could have labels is a bad answer, since thousands of them take long", () => {
  /** A record of no type that is read, whose data are so many pointers, each to the one before; and one whose name is the last of them. */
  const by = (pointers: number) => {
    const data = 12 + name("db.test").length + 4 + pointer.length + 10;
    const chain = Array.from({ length: pointers }, (_, at) => u16(0xc000 | (at === 0 ? 12 : data + 2 * (at - 1))));
    const last = u16(0xc000 | (data + 2 * (pointers - 1)));
    return answer(1, 0, [record(pointer, 16, 1, Buffer.concat(chain)), record(last, 1, 1, Buffer.of(10, 0, 0, 1))]);
  };
  expect(decodeAnswer(by(126)).answers).toMatchObject([{ name: "db.test", address: "10.0.0.1" }]);
  expect(() => decodeAnswer(by(127))).toThrow(/too many pointers/);
});

test("a pointer to itself, or forwards, is a bad answer rather than a loop", () => {
  const loop = Buffer.concat([u16(7, 0x8180, 1, 0, 0, 0), u16(0xc00c), u16(1, 1)]);
  expect(() => decodeAnswer(loop)).toThrow(DiscoveryError);
});

test("whatever arrives is read or refused", () => {
  const good = answer(33, 0, [record(pointer, 33, 5, Buffer.concat([u16(1, 5, 8080), pointer]))]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(good.length), fc.boolean(), (noise, at, mutated) => {
      const bytes = mutated
        ? Buffer.concat([good.subarray(0, at), noise, good.subarray(at + noise.length)])
        : Buffer.from(noise);
      try {
        decodeAnswer(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(DiscoveryError);
      }
    }),
    { numRuns: 2_000 },
  );
});
