/** HTTP/2 conversations for fuzzing: requests and responses, framed in any way that is allowed, and what can be broken about them. */
import fc from "fast-check";

import * as h2 from "../support/http2-frames.ts";

export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

const PADDED = 8;
const PRIORITY = 0x20;

export const textOf = (frames: readonly RawFrame[]): string =>
  Buffer.concat(frames.map(({ type, flags, streamId, payload }) => h2.frame(type, flags, streamId, payload))).toString(
    "latin1",
  );

const payloads = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));

/** A payload with padding around, and the flag that says so. */
const padded = (payload: Buffer, padding: number): { payload: Buffer; flag: number } =>
  padding === 0
    ? { payload, flag: 0 }
    : { payload: Buffer.concat([Buffer.from([padding]), payload, Buffer.alloc(padding)]), flag: PADDED };

interface Message {
  readonly fields: number;
  readonly pieces: readonly Buffer[];
  readonly cuts: readonly number[];
  readonly padding: number;
  readonly hasPriority: boolean;
  readonly trailers: boolean;
}

const messages = fc.record<Message>({
  fields: fc.nat(6),
  pieces: fc.array(payloads, { maxLength: 3 }),
  cuts: fc.array(fc.nat(200), { maxLength: 3 }),
  padding: fc.nat(5),
  hasPriority: fc.boolean(),
  trailers: fc.boolean(),
});

/** A head or trailers, cut into HEADERS and CONTINUATIONs. */
function headFrames(block: Buffer, end: boolean, request: Message): RawFrame[] {
  const cuts = [...request.cuts.map((cut) => cut % (block.length + 1)), block.length].toSorted((a, b) => a - b);
  return cuts.map((cut, i) => {
    const part = block.subarray(cuts[i - 1] ?? 0, cut);
    const last = i === cuts.length - 1 ? h2.END_HEADERS : 0;
    if (i > 0) return { type: h2.CONTINUATION, flags: last, streamId: 0, payload: part };
    const priority = request.hasPriority ? Buffer.from([0, 0, 0, 0, 15]) : Buffer.alloc(0);
    const { payload, flag } = padded(Buffer.concat([priority, part]), request.padding);
    const flags = last | flag | (end ? h2.END_STREAM : 0) | (request.hasPriority ? PRIORITY : 0);
    return { type: h2.HEADERS, flags, streamId: 0, payload };
  });
}

function framesOf(request: Message, pseudo: readonly (readonly [string, string])[]): RawFrame[][] {
  const { pieces, trailers } = request;
  const extra = Array.from({ length: request.fields }, (_, i) => [`x-${i}`, "v".repeat(i * 7)] as const);
  const head = h2.fields(...pseudo, ...extra);
  const frames = [headFrames(head, pieces.length === 0 && !trailers, request)];
  for (const [i, piece] of pieces.entries()) {
    const { payload, flag } = padded(piece, request.padding);
    const end = !trailers && i === pieces.length - 1;
    frames.push([{ type: h2.DATA, flags: flag | (end ? h2.END_STREAM : 0), streamId: 0, payload }]);
  }
  if (trailers) frames.push(headFrames(h2.fields(["x-trailer", "1"]), true, request));
  return frames;
}

/** What may come between the frames of streams. */
const between: RawFrame[] = [
  { type: h2.PING, flags: 0, streamId: 0, payload: Buffer.alloc(8, "p") },
  { type: h2.SETTINGS, flags: 0, streamId: 0, payload: Buffer.alloc(0) },
  { type: h2.WINDOW_UPDATE, flags: 0, streamId: 0, payload: Buffer.from([0, 0, 0, 1]) },
  { type: 0xbe, flags: 0xff, streamId: 0, payload: Buffer.from("unknown") },
];

/** Requests on streams 1, 3, … in this order, their bodies interleaved with one another and with frames that concern no stream. */
export const conversations: fc.Arbitrary<RawFrame[]> = fc
  .tuple(fc.array(messages, { minLength: 1, maxLength: 4 }), fc.array(fc.nat(), { maxLength: 20 }))
  .map(([all, turns]) => {
    const streams = all.map((request, i) => ({
      id: 2 * i + 1,
      blocks: framesOf(request, [[":method", "POST"], ...h2.GET.slice(1)]),
    }));
    const frames: RawFrame[] = [];
    let opened = 0;
    const take = (at: number) => {
      const stream = streams[at];
      for (const each of stream?.blocks.shift() ?? []) frames.push({ ...each, streamId: stream?.id ?? 0 });
    };
    for (const turn of turns) {
      const chosen = turn % (streams.length + between.length);
      const other = between[chosen - streams.length];
      if (other !== undefined) frames.push(other);
      else if (chosen < opened) take(chosen);
      else if (opened < streams.length) take(opened++);
    }
    for (const [at, stream] of streams.entries()) while (stream.blocks.length > 0) take(at);
    return frames;
  });

/** A response on stream 1, with 1xx before it and other frames in between, and its body. */
export const responses: fc.Arbitrary<{ frames: RawFrame[]; body: Buffer }> = fc
  .tuple(messages, fc.nat(3), fc.array(fc.nat(), { maxLength: 6 }))
  .map(([message, informational, places]) => {
    const early = Array.from({ length: informational }, () =>
      headFrames(h2.fields([":status", "103"], ["link", "</a>"]), false, message),
    );
    const blocks = [...early, ...framesOf(message, [[":status", "200"]])].map((block) =>
      block.map((frame) => ({ ...frame, streamId: 1 })),
    );
    for (const place of places) {
      const other = between[place % between.length] as RawFrame;
      blocks.splice((place >> 3) % (blocks.length + 1), 0, [other]);
    }
    return { frames: blocks.flat(), body: Buffer.concat(message.pieces) };
  });

const frames = fc.record<RawFrame>({
  type: fc.nat(12),
  flags: fc.nat(255),
  streamId: fc.oneof(fc.nat(9), fc.constant(2 ** 31 - 1)),
  payload: payloads,
});

/** The same conversation with something wrong, most of the time. */
export const mutations = (conversation: RawFrame[]): fc.Arbitrary<RawFrame[]> => {
  const place = fc.nat(conversation.length);
  const change = fc.oneof(
    fc.tuple(fc.constant("insert"), place, frames),
    fc.tuple(fc.constant("replace"), place, frames),
    fc.tuple(fc.constant("flags"), place, frames),
    fc.tuple(fc.constant("stream"), place, frames),
    fc.tuple(fc.constant("payload"), place, frames),
    fc.tuple(fc.constant("repeat"), place, frames),
    fc.tuple(fc.constant("drop"), place, frames),
  );
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => {
    const all = [...conversation];
    for (const [kind, at, frame] of changes) {
      const old = all[at % Math.max(1, all.length)];
      if (kind === "insert" || old === undefined) all.splice(at, 0, frame);
      else if (kind === "replace") all.splice(at, 1, frame);
      else if (kind === "flags") all.splice(at, 1, { ...old, flags: frame.flags });
      else if (kind === "stream") all.splice(at, 1, { ...old, streamId: frame.streamId });
      else if (kind === "payload") all.splice(at, 1, { ...old, payload: frame.payload });
      else if (kind === "repeat") all.splice(at, 0, old);
      else all.splice(at, 1);
    }
    return all;
  });
};
