/**
 * First answers, made once for all streams that ask alike: after a restart a thousand data planes want the same thousand clusters, and hold none. What each
 * of them would be sent, and what is noted of it, is the same to the byte.
 */
import type { CachedResource, ResourceSet } from "./cache.ts";
import type { SharedLayer } from "./layered-map.ts";
import type { Push } from "./subscription.ts";

/** What a client is sent that holds nothing of what it waits for. */
export interface FirstAnswer {
  readonly push: Push;
  /** What the client holds by it. */
  readonly sent: SharedLayer;
  /** That it has accepted nothing of it yet. */
  readonly unaccepted: SharedLayer;
  /** What did not fit, in the order of names. */
  readonly rest: ReadonlySet<string>;
}

/** What an answer depends on. A version stands for the content of a set. */
export interface FirstQuestion {
  readonly typeUrl: string;
  /** The names that wait, shared with other streams. */
  readonly names: ReadonlySet<string>;
  readonly version: string;
  /** Whether names that don't exist are told to be gone. */
  readonly tellsMissing: boolean;
  readonly budgetBytes: number;
}

interface Kept extends FirstQuestion {
  readonly answer: FirstAnswer;
  readonly bytes: number;
  /** Somebody had it since the clock last looked. */
  isFresh: boolean;
}

/** Of the answers that are kept for the next to ask, but for the newest. */
const KEPT_BYTES_MAX = 32 * 1024 * 1024;
const KEPT_MAX = 32;
/** A crowd comes within seconds. What nobody asked for in this time is given up: it keeps resources that are no more. */
const KEPT_MS = 60_000;

/** The answers given lately. */
export class FirstAnswers {
  /** The newest last. */
  #kept: Kept[] = [];
  #bytes = 0;
  /** Runs while anything is kept. */
  #clock: NodeJS.Timeout | undefined;
  /** What the answer was that left these names. */
  readonly #before = new WeakMap<ReadonlySet<string>, SharedLayer>();

  /** The layer that was sent before these names, where they are what an earlier answer left. */
  before(names: ReadonlySet<string>): SharedLayer | undefined {
    return this.#before.get(names);
  }

  /** The answer to a question about a set. @param set whose version is the question's */
  answer(question: FirstQuestion, set: ResourceSet): FirstAnswer {
    const known = this.#kept.find((each) => isSame(each, question));
    if (known !== undefined) {
      known.isFresh = true;
      return known.answer;
    }
    const answer = makeAnswer(question, set);
    if (answer.rest.size > 0) this.#before.set(answer.rest, answer.sent);
    const bytes = answer.push.resources.reduce((sum, { delta }) => sum + delta.length, 0);
    this.#kept.push({ ...question, answer, bytes, isFresh: true });
    this.#bytes += bytes;
    this.#clock ??= setInterval(() => this.#forget(), KEPT_MS).unref();
    while (this.#kept.length > KEPT_MAX || (this.#bytes > KEPT_BYTES_MAX && this.#kept.length > 1)) {
      this.#bytes -= this.#kept.shift()?.bytes ?? 0;
    }
    return answer;
  }

  #forget(): void {
    this.#kept = this.#kept.filter(({ isFresh }) => isFresh);
    this.#bytes = this.#kept.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const each of this.#kept) each.isFresh = false;
    if (this.#kept.length > 0) return;
    clearInterval(this.#clock);
    this.#clock = undefined;
  }
}

const isSame = (one: FirstQuestion, other: FirstQuestion): boolean =>
  one.names === other.names &&
  one.version === other.version &&
  one.typeUrl === other.typeUrl &&
  one.tellsMissing === other.tellsMissing &&
  one.budgetBytes === other.budgetBytes;

function makeAnswer({ names, tellsMissing, budgetBytes, version }: FirstQuestion, set: ResourceSet): FirstAnswer {
  const resources: CachedResource[] = [];
  const removed: string[] = [];
  const changed = new Set<string>();
  const rest = new Set<string>();
  let left = budgetBytes;
  for (const name of names) {
    if (left <= 0) {
      rest.add(name);
      continue;
    }
    const resource = set.get(name);
    if (resource !== undefined) {
      resources.push(resource);
      changed.add(name);
      left -= resource.delta.length;
    } else if (tellsMissing) {
      removed.push(name);
      left -= name.length;
    }
  }
  const layer = (valueOf: (resource: CachedResource) => string): SharedLayer => ({
    names: changed,
    values: new Map(resources.map((resource) => [resource.name, valueOf(resource)])),
  });
  return {
    push: { resources, removed, changed, version },
    sent: layer(({ version: sent }) => sent),
    unaccepted: layer(() => ""),
    rest,
  };
}
