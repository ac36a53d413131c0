/** Data planes of the soak that record what they are sent, each with a bad habit or two. */
import { setTimeout as sleep } from "node:timers/promises";

import { resourceType } from "#proto/resource-types.ts";

import { type HeldResource, RecordingDelta, type RecordingOptions, RecordingSotw } from "../support/xds-client.ts";
import type { Random } from "./random.ts";

const CDS = resourceType("CDS").typeUrl;
const EDS = resourceType("EDS").typeUrl;
const LDS = resourceType("LDS").typeUrl;
const RDS = resourceType("RDS").typeUrl;
const ROUTES = "default";

/** What a data plane does besides what it should. */
export type Habit = "none" | "slow" | "reconnects" | "refuses";
export const habits: readonly Habit[] = ["none", "slow", "reconnects", "refuses"];

/** All that a data plane holds, as "type name" -> a text that differs for different content. */
export type Held = ReadonlyMap<string, string>;

type Stream = RecordingDelta | RecordingSotw;

const RECONNECT_MS_MAX = 500;

/** One recording data plane: it asks for everything, comes back whenever its stream ends, and follows its habit until {@link calm}. */
export class Recorder {
  readonly group: string;
  readonly id: string;
  readonly kind: "delta" | "sotw";
  readonly #address: string;
  readonly #habit: Habit;
  readonly #random: Random;
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;
  #stream: Stream | undefined;
  #isCalm = false;
  #clusters = new Set<string>();
  /** What delta streams before this one have left behind. */
  #kept = new Map<string, Map<string, HeldResource>>();

  constructor(
    who: { readonly group: string; readonly id: string; readonly kind: "delta" | "sotw"; readonly habit: Habit },
    address: string,
    random: Random,
  ) {
    this.group = who.group;
    this.id = who.id;
    this.kind = who.kind;
    this.#habit = who.habit;
    this.#address = address;
    this.#random = random;
    this.#running = this.#run();
  }

  /** Gives up the habit. Who has refused something comes back once more, since a refused version is not sent again on the same stream. */
  calm(): void {
    this.#isCalm = true;
    if (this.#habit === "refuses") this.#stream?.close();
    this.#stream?.resume();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#stream?.close();
    await this.#running;
  }

  /** What it holds now, of what is of use: endpoints of clusters that it has. */
  held(): Held {
    const held = new Map<string, string>();
    const stream = this.#stream;
    if (stream === undefined) return held;
    const clusters = new Set(stream.held(CDS).keys());
    for (const typeUrl of [CDS, EDS, LDS, RDS]) {
      for (const [name, value] of stream.held(typeUrl)) {
        if (typeUrl === EDS && !clusters.has(name)) continue;
        held.set(`${typeUrl} ${name}`, textOf(value));
      }
    }
    return held;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const stream = this.#open();
      this.#stream = stream;
      await Promise.race([stream.end(), this.#misbehave(stream)]);
      if (stream instanceof RecordingDelta) this.#kept = stream.state;
      if (signal.aborted) return;
      stream.close();
      await sleep(this.#random.between(10, RECONNECT_MS_MAX), undefined, { signal }).catch(() => undefined);
    }
  }

  /** Resolves when it is time to leave the stream. */
  async #misbehave(stream: Stream): Promise<void> {
    while (stream.ended === undefined) {
      await sleep(this.#random.between(200, 3_000), undefined, { signal: this.#stopped.signal }).catch(() => undefined);
      if (this.#isCalm || this.#stopped.signal.aborted) continue;
      if (this.#habit === "reconnects") return;
      if (this.#habit === "slow") {
        stream.pause();
        await sleep(this.#random.between(100, 2_000), undefined, { signal: this.#stopped.signal }).catch(
          () => undefined,
        );
        stream.resume();
      }
    }
  }

  #open(): Stream {
    this.#clusters = new Set();
    const options: RecordingOptions = {
      node: { id: this.id, cluster: this.group },
      answer: ({ typeUrl }) => {
        if (typeUrl === CDS) queueMicrotask(() => this.#follow());
        return this.#habit === "refuses" && !this.#isCalm && this.#random.chance(0.2) ? { refuse: "a mood" } : "ack";
      },
    };
    if (this.kind === "sotw") {
      const stream = new RecordingSotw(this.#address, options);
      for (const typeUrl of [CDS, LDS]) stream.subscribe(typeUrl);
      stream.subscribe(RDS, [ROUTES]);
      return stream;
    }
    const stream = new RecordingDelta(this.#address, options);
    for (const [typeUrl, resources] of this.#kept) stream.state.set(typeUrl, new Map(resources));
    const ask = (typeUrl: string, names: string[]) => {
      const initialResourceVersions = stream.heldVersions(typeUrl);
      stream.send({ typeUrl, resourceNamesSubscribe: names, initialResourceVersions });
    };
    ask(CDS, ["*"]);
    this.#clusters = new Set(stream.held(CDS).keys());
    for (const name of stream.held(EDS).keys()) if (!this.#clusters.has(name)) stream.held(EDS).delete(name);
    if (this.#clusters.size > 0) ask(EDS, [...this.#clusters]);
    ask(LDS, ["*"]);
    ask(RDS, [ROUTES]);
    return stream;
  }

  /** Asks for the endpoints of the clusters that it has now. */
  #follow(): void {
    const stream = this.#stream;
    if (stream === undefined || stream.ended !== undefined) return;
    const before = this.#clusters;
    this.#clusters = new Set(stream.held(CDS).keys());
    const come = [...this.#clusters.difference(before)];
    const gone = [...before.difference(this.#clusters)];
    if (come.length + gone.length === 0) return;
    if (stream instanceof RecordingSotw) {
      stream.subscribe(EDS, [...this.#clusters]);
      return;
    }
    stream.send({ typeUrl: EDS, resourceNamesSubscribe: come, resourceNamesUnsubscribe: gone });
    for (const name of gone) stream.held(EDS).delete(name);
  }
}

const textOf = (value: HeldResource | Uint8Array): string =>
  Buffer.from("bytes" in value ? value.bytes : value).toString("base64");
