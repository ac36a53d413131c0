/**
 * Routes encoded without making messages of them, as endpoint-bytes.ts does it for endpoints: a large gateway has five times as many routes as services, and
 * what those of a service say of their upstream is nearly always the same.
 */
import { toBinary } from "@bufbuild/protobuf";

import { HeaderMatcherSchema, RouteMatchSchema, RouteSchema } from "#envoy/config/route/v3/route_components_pb.ts";

import { methodMatchers } from "./matchers.ts";
import { type Field, MessageWriter } from "./message-writer.ts";

const { match, name } = RouteSchema.field;
const { prefix, path, headers } = RouteMatchSchema.field;

/** What a route does, encoded: one of the fields of its `action`. */
export interface EncodedAction {
  readonly field: Field;
  readonly bytes: Uint8Array;
}

/** A route that is matched by path and methods alone, and changes no headers. */
export interface PlainRoute {
  readonly name: string;
  readonly match: { readonly case: "path" | "prefix"; readonly value: string };
  readonly methods: readonly string[];
  readonly action: EncodedAction;
}

const writer = new MessageWriter();

/** The bytes of the Envoy route. */
export const encodePlainRoute = (route: PlainRoute): Uint8Array<ArrayBuffer> =>
  writer.encode(() => {
    // Last things first (message-writer.ts).
    writer.text(name, route.name);
    writer.bytes(route.action.field, route.action.bytes);
    const before = writer.written;
    for (const bytes of encodedMethods(route.methods).toReversed()) writer.bytes(headers, bytes);
    writer.oneofText(route.match.case === "path" ? path : prefix, route.match.value);
    writer.endMessage(match, before);
  });

/** The header matchers of the few lists of methods that most routes have. */
const ofMethods = new Map<string, readonly Uint8Array[]>();
const OF_METHODS_MAX = 1_000;

function encodedMethods(methods: readonly string[]): readonly Uint8Array[] {
  if (methods.length === 0) return [];
  const key = methods.join(" ");
  let found = ofMethods.get(key);
  if (found === undefined) {
    found = methodMatchers(methods).map((matcher) => toBinary(HeaderMatcherSchema, matcher));
    if (ofMethods.size < OF_METHODS_MAX) ofMethods.set(key, found);
  }
  return found;
}
