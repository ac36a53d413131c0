/**
 * Against a simple model of a client: whatever the interleaving of requests, changes, acceptances and refusals on two channels that delay
 * everything, and of streams that break, in the end the client has been sent the newest of each resource that it wants (S5-S9, S13, S16,
 * D2-D7, D9, D11, D12, D14).
 */
import fc from "fast-check";
import { expect, test } from "vitest";

import { DeltaPlayer, type Played, SotwPlayer } from "../../test/support/xds-player.ts";

const names = ["a", "b", "c", "d"];
const name = fc.constantFrom(...names);

/** One thing that happens. */
type Step =
  | { readonly kind: "change"; readonly name: string; readonly content: string | null }
  | { readonly kind: "subscribe" | "unsubscribe"; readonly name: string }
  | { readonly kind: "serverReads" | "serverSends" | "reconnect" }
  | { readonly kind: "clientReads"; readonly accepts: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reconnect" as const) }) },
  ...[
    fc.record({ kind: fc.constant("change" as const), name, content: fc.constantFrom("1", "2", "3", null) }),
    fc.record({ kind: fc.constantFrom("subscribe" as const, "unsubscribe" as const), name }),
    fc.record({ kind: fc.constantFrom("serverReads" as const, "serverSends" as const) }),
    fc.record({ kind: fc.constant("clientReads" as const), accepts: fc.boolean() }),
  ].map((arbitrary: fc.Arbitrary<Step>) => ({ weight: 4, arbitrary })),
);

/** A client: keeps the versions that it was sent, refused ones too, since a refusal is not sent again. */
abstract class ModelClient {
  requests: (() => void)[] = [];
  responses: Played[] = [];
  /** What there is, for the server of the next stream. */
  readonly contents: Record<string, string> = { a: "1", b: "1" };
  readonly wanted = new Set<string>();
  readonly received = new Map<string, string>();
  readonly #nonces = new Set<string>();
  abstract player: DeltaPlayer | SotwPlayer;
  /** Opens another stream, with all that the client holds and wants; its server may be another one. */
  protected abstract reopen(): void;
  abstract subscribe(name: string): void;
  abstract unsubscribe(name: string): void;
  protected abstract read(response: Played, accepts: boolean): void;

  play(step: Step, free = false): void {
    switch (step.kind) {
      case "change":
        this.player.change({ [step.name]: step.content });
        if (step.content === null) delete this.contents[step.name];
        else this.contents[step.name] = step.content;
        break;
      case "reconnect":
        // What was under way is lost.
        this.requests = [];
        this.responses = [];
        this.#nonces.clear();
        this.reopen();
        break;
      case "subscribe":
        this.subscribe(step.name);
        break;
      case "unsubscribe":
        this.unsubscribe(step.name);
        break;
      case "serverReads":
        this.requests.shift()?.();
        break;
      case "serverSends": {
        const response = this.player.take(free ? undefined : { updates: true, removals: false });
        if (response === undefined) break;
        expect(this.#nonces).not.toContain(response.nonce);
        this.#nonces.add(response.nonce);
        this.responses.push(response);
        expect(this.responses.length).toBe(1); // D14
        break;
      }
      case "clientReads": {
        const response = this.responses.shift();
        if (response !== undefined) this.read(response, step.accepts);
        break;
      }
    }
  }

  /** Lets everything that is under way arrive; a client in sync must then be left in peace. */
  settle(): void {
    for (let round = 0; round < 50; round++) {
      while (this.requests.length > 0) this.play({ kind: "serverReads" });
      this.play({ kind: "serverSends" }, true);
      if (this.responses.length === 0) return;
      this.play({ kind: "clientReads", accepts: true });
    }
    throw new Error("the server never comes to rest");
  }
}

class DeltaModel extends ModelClient {
  player: DeltaPlayer;
  readonly #wildcard: boolean;

  constructor(wildcard: boolean) {
    super();
    this.player = new DeltaPlayer(wildcard ? "CDS" : "EDS", this.contents);
    this.#wildcard = wildcard;
    this.requests.push(() => this.player.request({}));
    if (wildcard) for (const each of names) this.wanted.add(each);
  }

  subscribe(each: string): void {
    this.wanted.add(each);
    this.requests.push(() => this.player.request({ subscribe: [each] }));
  }

  unsubscribe(each: string): void {
    if (!this.#wildcard) {
      this.wanted.delete(each);
      this.received.delete(each);
    }
    this.requests.push(() => this.player.request({ unsubscribe: [each] }));
  }

  /** D9: the names again, and the versions of what it holds. */
  protected override reopen(): void {
    this.player = new DeltaPlayer(this.#wildcard ? "CDS" : "EDS", this.contents);
    const subscribe = this.#wildcard ? ["*"] : [...this.wanted];
    const initial = Object.fromEntries(this.received);
    this.requests.push(() => this.player.request({ subscribe, initial }));
  }

  protected override read({ nonce, resources, removed }: Played, accepts: boolean): void {
    for (const [each, version] of Object.entries(resources)) this.received.set(each, version);
    for (const each of removed) this.received.delete(each);
    this.requests.push(() => this.player.request(accepts ? { nonce } : { nonce, refusal: "no" }));
  }
}

class SotwModel extends ModelClient {
  player: SotwPlayer;
  readonly #type: "CDS" | "EDS";
  #nonce = "";
  /** Of the newest response that it accepted. */
  #version = "";

  constructor(type: "CDS" | "EDS") {
    super();
    this.#type = type;
    this.player = new SotwPlayer(type, this.contents);
    this.subscribe("a");
  }

  /** S16: the names and the version that it has accepted last, and no nonce. */
  protected override reopen(): void {
    this.player = new SotwPlayer(this.#type, this.contents);
    this.#nonce = "";
    this.#send();
  }

  subscribe(each: string): void {
    this.wanted.add(each);
    this.#send();
  }

  unsubscribe(each: string): void {
    this.wanted.delete(each);
    this.received.delete(each);
    this.#send();
  }

  protected override read({ nonce, version, resources }: Played, accepts: boolean): void {
    if (accepts) this.#version = version;
    if (this.player.sub.type.wildcard) this.received.clear();
    for (const [each, version] of Object.entries(resources)) this.received.set(each, version);
    this.#nonce = nonce;
    this.#send(accepts ? undefined : "no");
  }

  #send(refusal?: string): void {
    const request = { names: [...this.wanted], version: this.#version, nonce: this.#nonce, refusal };
    this.requests.push(() => this.player.request(request));
  }
}

const clients: [string, () => ModelClient][] = [
  ["delta, by wildcard", () => new DeltaModel(true)],
  ["delta, by name", () => new DeltaModel(false)],
  ["state of the world, full state", () => new SotwModel("CDS")],
  ["state of the world, in parts", () => new SotwModel("EDS")],
];

test.each(clients)("any interleaving ends in the newest state: %s", (_, newClient) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const client = newClient();
      for (const each of steps) client.play(each);
      client.settle();
      const { player, wanted, received } = client;
      const tellsRemovals = player instanceof DeltaPlayer || player.sub.type.wildcard;
      for (const each of wanted) {
        if (!player.set.has(each) && !tellsRemovals) continue; // S15
        expect(received.get(each) ?? "missing").toBe(player.version(each));
      }
      expect(player.sub.dirty.size + player.sub.forced.size + player.sub.gone.size).toBe(0);
    }),
    { numRuns: 500 },
  );
});
