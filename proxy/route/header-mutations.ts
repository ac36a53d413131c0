import {
  type HeaderValueOption,
  HeaderValueOption_HeaderAppendAction as Action,
} from "#envoy/config/core/v3/base_pb.ts";

import type { Place } from "../compile.ts";
import type { Headers } from "../headers.ts";
import { isToken } from "../http1/chars.ts";
import type { RequestRecord } from "../observe/access-log.ts";
import { compileHeaderFormat, type HeaderFormat } from "../observe/header-format.ts";

/** Changes the header fields of a message; the record tells what command operators in values stand for. */
export type HeaderMutation = (headers: Headers, record: RequestRecord) => void;

type Step = "append" | "add-if-absent" | "overwrite-if-exists" | "overwrite";

interface Addition {
  readonly name: string;
  readonly step: Step;
  readonly format: HeaderFormat;
  readonly keepEmpty: boolean;
}

const steps: Readonly<Record<Action, Step>> = {
  [Action.APPEND_IF_EXISTS_OR_ADD]: "append",
  [Action.ADD_IF_ABSENT]: "add-if-absent",
  [Action.OVERWRITE_IF_EXISTS_OR_ADD]: "overwrite",
  [Action.OVERWRITE_IF_EXISTS]: "overwrite-if-exists",
};

/** Fields by which the codec frames a message; one that is added or taken away would make two messages of one. */
const FRAMING = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** What a message says of one direction, and where it stands. */
export interface MutationFields {
  readonly add: readonly HeaderValueOption[];
  readonly remove: readonly string[];
  readonly addPlace: (index: number) => Place;
  readonly removePlace: (index: number) => Place;
}

/**
 * Compiles ..._headers_to_add and ..._headers_to_remove of one message (Envoy HeaderParser::evaluateHeaders): removals come first, all
 * values are made before one is set, and those that overwrite go before those that are added. Undefined: there is nothing to change.
 */
export function compileHeaderMutation({
  add,
  remove,
  addPlace,
  removePlace,
}: MutationFields): HeaderMutation | undefined {
  const additions = add.flatMap((option, index) => compileAddition(option, addPlace(index)) ?? []);
  const removed = remove.map((name) => name.toLowerCase());
  removed.forEach((name, index) => checkName(name, removePlace(index)));
  if (additions.length === 0 && removed.length === 0) return undefined;
  return (headers, record) => {
    for (const name of removed) headers.remove(name);
    if (additions.length > 0) addAll(additions, headers, record);
  };
}

function addAll(additions: readonly Addition[], headers: Headers, record: RequestRecord): void {
  const values: (string | undefined)[] = [];
  for (const { name, step, format, keepEmpty } of additions) {
    const skipped =
      (step === "add-if-absent" && headers.has(name)) || (step === "overwrite-if-exists" && !headers.has(name));
    const value = skipped ? "" : format(record);
    values.push(skipped || (value === "" && !keepEmpty) ? undefined : value);
  }
  for (const overwrites of [true, false]) {
    additions.forEach(({ name, step }, at) => {
      const value = values[at];
      if (value === undefined || step.startsWith("overwrite") !== overwrites) return;
      if (overwrites) headers.set(name, value);
      else headers.add(name, value);
    });
  }
}

function compileAddition(option: HeaderValueOption, place: Place): Addition | undefined {
  const name = option.header?.key.toLowerCase() ?? "";
  if (!checkName(name, place.field("header").field("key"))) return undefined;
  const format = compileHeaderFormat(option.header, place.field("header"));
  const step = stepOf(option, place);
  if (format === undefined || step === undefined) return undefined;
  return { name, step, format, keepEmpty: option.keepEmptyValue };
}

function stepOf({ append, appendAction }: HeaderValueOption, place: Place): Step | undefined {
  if (append !== undefined) {
    if (appendAction !== Action.APPEND_IF_EXISTS_OR_ADD) {
      place.field("append").refuse("goes with append_action only where that has its default");
      return undefined;
    }
    return append ? "append" : "overwrite";
  }
  const step = steps[appendAction];
  if (step === undefined) place.field("append_action").refuse("unknown value");
  return step;
}

/** Whether a field of that name may be changed; pseudo-headers and Host may not (proxy-parity 3.3), nor what frames the message. */
function checkName(name: string, place: Place): boolean {
  if (name.startsWith(":") || name === "host") place.refuse("pseudo-headers and host can't be changed this way");
  else if (FRAMING.has(name)) place.refuse(`${name} belongs to the connection and can't be changed`);
  else if (!isToken(name)) place.refuse("is not a header name");
  else return true;
  return false;
}

/** One mutation of several, in order. Undefined: there is none. */
export function inOrder(mutations: readonly (HeaderMutation | undefined)[]): HeaderMutation | undefined {
  const real = mutations.filter((mutation) => mutation !== undefined);
  const [first] = real;
  if (real.length <= 1) return first;
  return (headers, record) => {
    for (const mutation of real) mutation(headers, record);
  };
}

/** What request and response fields of one message (route table, virtual host, route, weighted cluster) say. */
export interface Mutations {
  readonly request: HeaderMutation | undefined;
  readonly response: HeaderMutation | undefined;
}

/** Nothing to change. */
export const NO_MUTATIONS: Mutations = { request: undefined, response: undefined };

/** Compiles the four fields that carry mutations in RouteConfiguration, VirtualHost, Route and ClusterWeight. */
export function compileMutations(
  message: {
    readonly requestHeadersToAdd: readonly HeaderValueOption[];
    readonly requestHeadersToRemove: readonly string[];
    readonly responseHeadersToAdd: readonly HeaderValueOption[];
    readonly responseHeadersToRemove: readonly string[];
  },
  place: Place,
): Mutations {
  const direction = (add: readonly HeaderValueOption[], remove: readonly string[], prefix: string) =>
    compileHeaderMutation({
      add,
      remove,
      addPlace: (index) => place.item(`${prefix}_headers_to_add`, index),
      removePlace: (index) => place.item(`${prefix}_headers_to_remove`, index),
    });
  const request = direction(message.requestHeadersToAdd, message.requestHeadersToRemove, "request");
  const response = direction(message.responseHeadersToAdd, message.responseHeadersToRemove, "response");
  return request === undefined && response === undefined ? NO_MUTATIONS : { request, response };
}

/**
 * A route's mutations with those around it: the route's first and the table's last, so that the table has the last word, or the other way
 * round with most_specific_header_mutations_wins.
 */
export function nest(specific: readonly Mutations[], mostSpecificWins: boolean): Mutations {
  if (specific.every((one) => one === NO_MUTATIONS)) return NO_MUTATIONS;
  const ordered = mostSpecificWins ? specific.toReversed() : specific;
  return {
    request: inOrder(ordered.map(({ request }) => request)),
    response: inOrder(ordered.map(({ response }) => response)),
  };
}
